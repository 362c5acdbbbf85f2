import sys

import pytest
from report_runs import write_run

from rkdo_plugin.recipes.report.arms import arms_of, mean_point
from rkdo_plugin.recipes.report.charts import curves_chart, map_chart, plotting_script
from rkdo_plugin.recipes.report.runs import read_found_run

vl_convert = pytest.importorskip("vl_convert")
CURVES = {
    "three seeds": [mean_point(step, [0.5, 0.6, 0.8]) for step in (1, 2, 3)],
    "one seed": [mean_point(step, [0.4]) for step in (1, 2)],
}


def drawn(spec):
    """The picture that Vega draws of a specification, as SVG."""
    spec = spec | {"width": 300}
    return vl_convert.vegalite_to_svg(spec, vl_version="6.4")


def test_a_band_is_drawn_where_there_is_an_interval_and_nowhere_else():
    names = [*CURVES]
    svg = drawn(curves_chart(CURVES, names, "score", share=True))
    assert svg.count('fill-opacity="0.2"') == 1
    assert "three seeds" in svg
    one = {"one seed": CURVES["one seed"]}
    svg = drawn(curves_chart(one, names, "score", share=True))
    assert 'fill-opacity="0.2"' not in svg
    assert 'stroke="#ee6677"' in svg  # its own colour, as in the other plots


def test_a_map_has_a_point_for_each_image_and_shows_the_chosen():
    places = [(0.1 * n, 0.05 * n) for n in range(8)]
    spec = map_chart(places, [0, 1] * 4, True)
    for number, row in enumerate(spec["data"]["values"]):
        row["image"] = f"data:image/png;base64,{number}"
    svg = drawn(spec)
    assert svg.count('fill="#4477aa"') == 4 + 1  # with the legend
    assert svg.count('fill="#ee6677"') == 4 + 1
    assert svg.count("<image") == 1
    assert "base64,0" in svg
    spec["params"][0]["value"] = 5
    assert "base64,5" in drawn(spec)


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ImportError, match=r"pip install 'rkdo-plugin\[report\]'"):
        plotting_script()


def test_two_runs_named_alike_by_nothing_else_have_colours_of_their_own(tmp_path):
    runs = [read_found_run(write_run(tmp_path / loss, loss=loss)) for loss in "ab"]
    arms = arms_of(runs)
    curves = {arm.name: arm.curve("knn") for arm in arms}
    svg = drawn(curves_chart(curves, [*curves], "kNN", share=True))
    assert {"#4477aa", "#ee6677"} <= {svg[i : i + 7] for i in range(len(svg))}
