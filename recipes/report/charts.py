"""The plots as specifications of Vega-Lite, and the script that draws them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rkdo_plugin.recipes.pictures.palette import class_color
from rkdo_plugin.recipes.report.arms import Point

SCHEMA_VERSION = "6.4"
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 3])
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
)
FEW = 12  # points of a curve, up to which each is drawn
LEGEND = 20  # classes, above which their names are left to the tooltip
THUMBNAIL = 72  # pixels of the chosen image on a map

Spec = dict[str, Any]


def plotting_script() -> str:
    """Vega, Vega-Lite and vega-embed as one script, which loads nothing.

    Raises:
        ImportError: vl-convert is not installed.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise ImportError(
            "a report needs vl-convert-python: pip install 'rkdo-plugin[report]'"
        ) from error
    bundle: Callable[..., str] = vl_convert.javascript_bundle  # its stub asks for more
    return bundle(vl_version=SCHEMA_VERSION)


def curves_chart(
    curves: Mapping[str, Sequence[Point]],
    names: Sequence[str],
    what: str,
    *,
    share: bool,
) -> Spec:
    """Curves of means over steps, with bands where there are intervals.

    Args:
        curves: The points of each curve, by its name.
        names: All names of the page, in the order of their colours.
        what: The y axis.
        share: Whether values are shares, to be written in per cent.
    """
    rows = [
        {
            "curve": name,
            "step": point.step,
            "mean": point.mean,
            "low": point.low,
            "high": point.high,
            "seeds": point.seeds,
        }
        for name, points in curves.items()
        for point in points
    ]
    few = max(len(points) for points in curves.values()) <= FEW
    places = [names.index(name) for name in curves]
    own: Spec = {"domain": [*curves]}
    digits = ".4~%" if share else ".4~g"
    x = {
        "field": "step",
        "type": "quantitative",
        "title": "optimizer steps",
        "axis": {"tickMinStep": 1, "tickCount": 8, "format": ",d"},
    }
    y = {
        "type": "quantitative",
        "title": what,
        "scale": {"zero": False},
        "axis": {"format": digits},
    }
    color = {
        "field": "curve",
        "type": "nominal",
        "title": None,
        "legend": {} if len(curves) > 1 else None,
        "scale": own | {"range": [class_color(place) for place in places]},
    }
    dash = color | {"scale": own | {"range": _cycle(DASHES, places)}}
    shape = color | {"scale": own | {"range": _cycle(SHAPES, places)}}
    tooltip = [
        {"field": "curve", "title": "arm"},
        {"field": "step", "title": "steps"},
        *(
            {"field": name, "type": "quantitative", "format": digits}
            for name in ("mean", "low", "high")
        ),
        {"field": "seeds"},
    ]
    band = {
        "transform": [{"filter": "datum.low !== null"}],
        "mark": {"type": "area", "fillOpacity": 0.2, "aria": False},
        "encoding": {
            "x": x,
            "y": y | {"field": "low"},
            "y2": {"field": "high"},
            "color": color,
        },
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 2, "aria": False},
        "encoding": {
            "x": x,
            "y": y | {"field": "mean"},
            "color": color,
            "strokeDash": dash,
        },
    }
    points = {
        "mark": {
            "type": "point",
            "filled": True,
            "size": 60,
            "opacity": 1 if few else 0,
            "aria": False,
        },
        "encoding": {
            "x": x,
            "y": y | {"field": "mean"},
            "color": color,
            "tooltip": tooltip,
        }
        | ({"shape": shape} if few else {}),
    }
    bands = [band] if any(row["low"] is not None for row in rows) else []
    return _whole(rows, [*bands, line, points], 260)


def map_chart(
    places: Sequence[tuple[float, float]], labels: Sequence[int], labelled: bool
) -> Spec:
    """Images as points; one of them, chosen by a slider, is shown at its place.

    Args:
        places: In [0, 1] on both axes.
        labels: The class of each image.
        labelled: Whether there are classes.
    """
    rows = [
        {"image number": number, "x": round(x, 4), "y": round(y, 4), "class": label}
        for number, ((x, y), label) in enumerate(zip(places, labels, strict=True))
    ]
    classes = sorted(set(labels))
    scale = {"domain": [-0.12, 1.12]}
    where = {
        axis: {"field": axis, "type": "quantitative", "axis": None, "scale": scale}
        for axis in ("x", "y")
    }
    legend = {"columns": 5} if labelled and len(classes) <= LEGEND else None
    own: Spec = {"domain": classes}
    color = {
        "field": "class",
        "type": "nominal",
        "legend": legend,
        "scale": own | {"range": [class_color(label) for label in classes]},
    }
    shape = color | {"scale": own | {"range": _cycle(SHAPES, classes)}}
    shown = [{"field": "image number"}, {"field": "image"}]
    if labelled:
        shown.insert(1, {"field": "class"})
    points = {
        "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.85}
        | {"aria": False},
        "encoding": where | {"color": color, "shape": shape, "tooltip": shown},
    }
    chosen = [{"filter": "datum['image number'] == chosen"}]
    ring = {
        "transform": chosen,
        "mark": {"type": "point", "size": 260, "strokeWidth": 3, "color": "#e8590c"}
        | {"aria": False},
        "encoding": where,
    }
    thumbnail = {
        "transform": chosen,
        "mark": {
            "type": "image",
            "width": THUMBNAIL,
            "height": THUMBNAIL,
            "yOffset": -THUMBNAIL / 2 - 14,
            "aria": False,
        },
        "encoding": where | {"url": {"field": "image"}},
    }
    slider = {
        "name": "chosen",
        "value": 0,
        "bind": {
            "input": "range",
            "min": 0,
            "max": len(rows) - 1,
            "step": 1,
            "name": "Show image ",
        },
    }
    return _whole(rows, [points, ring, thumbnail], 420) | {"params": [slider]}


def _whole(rows: list[Spec], layer: list[Spec], height: int) -> Spec:
    """A specification in layers, as wide as its place on the page."""
    version = SCHEMA_VERSION.partition(".")[0]
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{version}.json",
        "data": {"values": rows},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": layer,
        "config": {
            "background": "transparent",
            "font": "system-ui, sans-serif",
            "view": {"stroke": None},
            "axis": {"labelFontSize": 12, "titleFontSize": 12, "grid": True},
            "legend": {
                "orient": "bottom",
                "columns": 1,
                "labelFontSize": 12,
                "labelLimit": 280,
                "symbolSize": 90,
            },
        },
    }


def _cycle(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [values[place % len(values)] for place in places]
