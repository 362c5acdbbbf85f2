import json

import numpy as np
import pytest
from report_runs import CONFIG, write_run
from scipy import stats

from rkdo_plugin.recipes.report.collect import collect
from rkdo_plugin.recipes.report.comparisons import SHARED, read_found_comparison

SCORES = {10: [0.5, 0.6, 0.55], 20: [0.7, 0.8, 0.78]}


def write_comparison(folder, data="digits", fingerprint="abc"):
    """What `rkdo compare-losses` leaves, without its runs; one of them failed."""
    folder.mkdir()
    settings = dict.fromkeys(SHARED) | CONFIG | {"data": data}
    about = {"settings": settings, "code": "rkdo-plugin 0", "data": fingerprint}
    (folder / "comparison.json").write_text(json.dumps(about))
    (folder / "runs.jsonl").touch()
    lines = ["contender,epochs,steps,seed,score,seconds,error"]
    for steps, scores in SCORES.items():
        lines += [f"icon,1,{steps},{n},{s},0.1," for n, s in enumerate(scores)]
    lines += ["rkdo,1,10,0,0.6,0.1,", 'rkdo,2,20,0,,,"ValueError: <b>, lost"']
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")
    (folder / "table.md").write_text("| contender | kNN accuracy, % |\n")
    return folder


def test_points_are_means_of_complete_runs(tmp_path):
    found = read_found_comparison(write_comparison(tmp_path / "found"))
    assert found.measure == "kNN accuracy"
    assert found.failed == ("rkdo, 20 steps, seed 0: ValueError: <b>, lost",)
    last = found.curve("icon")[-1]
    own = np.array(SCORES[20])
    expected = stats.t.interval(0.95, 2, own.mean(), stats.sem(own))
    assert (last.low, last.high) == pytest.approx(expected)
    (only,) = found.curve("rkdo")
    assert (only.step, only.mean, only.low) == (10, 0.6, None)


def test_other_images_are_refused(tmp_path):
    one = write_comparison(tmp_path / "one")
    other = write_comparison(tmp_path / "other", fingerprint="def")
    with pytest.raises(ValueError, match="the same images in all"):
        collect([one, other])
    run = write_run(tmp_path / "run", data="cifar10")
    with pytest.raises(ValueError, match="the same data in all"):
        collect([run, one])


def test_a_comparison_that_is_not_finished_is_refused(tmp_path):
    folder = write_comparison(tmp_path / "found")
    (folder / "table.md").unlink()
    with pytest.raises(FileNotFoundError, match=r"finished comparison .* no table\.md"):
        read_found_comparison(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}'])
def test_a_damaged_comparison_is_refused(tmp_path, text):
    folder = write_comparison(tmp_path / "found")
    (folder / "comparison.json").write_text(text)
    with pytest.raises(ValueError, match=r"comparison\.json .* it is damaged"):
        read_found_comparison(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"[" * 100_000,
        json.dumps(
            {"settings": dict.fromkeys(SHARED), "code": 1, "data": "a"}
        ).encode(),
    ],
)
def test_bytes_depths_and_numbers_are_damage(tmp_path, content):
    folder = write_comparison(tmp_path / "found")
    (folder / "comparison.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"comparison\.json .* it is damaged"):
        read_found_comparison(folder)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"icon,1,ten,0,0.5,0.1,\n", r"line 10 of .*curves\.csv .* 'ten'"),
        (b"icon,1,-1,0,0.5,0.1,\n", r"line 10 of .* '-1'"),
        (b"icon,1,%d,0,0.5,0.1,\n" % (10**30), r"line 10 of .* '10000"),
        (b"icon,1,10,0,nan,0.1,\n", r"line 10 of .* 'nan'"),
        (b"icon\n", r"line 10 of .* a run's score but got \['icon', None"),
        (b"icon,1,10,0,\xff,0.1,\n", r"curves\.csv to be comma-separated values"),
        (b'"' + b"x" * 200_000 + b'"\n', r"comma-separated values .* field limit"),
    ],
)
def test_a_line_that_is_no_score_is_refused(tmp_path, line, match):
    folder = write_comparison(tmp_path / "found")
    with (folder / "curves.csv").open("ab") as file:
        file.write(line)
    with pytest.raises(ValueError, match=match):
        read_found_comparison(folder)
