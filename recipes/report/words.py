"""Figures as the page writes them."""

import math

from rkdo_plugin.recipes.comparison.paired import Difference
from rkdo_plugin.recipes.report.arms import Point

NOTHING = "–"  # noqa: RUF001 - no value


def counted(count: int, what: str) -> str:
    """A number of things: "1 run", "2 runs"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.2f} %"


def score(point: Point | None) -> str:
    """A mean in per cent with its interval, or why there is none."""
    if point is None:
        return NOTHING
    if point.low is None or point.high is None:
        return f"{percent(point.mean)}, {_alone(point.seeds)}"
    return f"{percent(point.mean)} [{100 * point.low:.2f}, {100 * point.high:.2f}]"


def value(point: Point | None) -> str:
    """A mean of any scale with its interval, or why there is none."""
    if point is None:
        return NOTHING
    if point.low is None or point.high is None:
        return f"{point.mean:.4g}, {_alone(point.seeds)}"
    return f"{point.mean:.4g} [{point.low:.4g}, {point.high:.4g}]"


def difference(found: Difference | None) -> str:
    """A difference in points with its interval, or why there is none."""
    if found is None:
        return NOTHING
    mean = f"{100 * found.mean:+.2f} points"
    if math.isnan(found.low):
        return f"{mean}, {_alone(found.pairs)}"
    return f"{mean} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def _alone(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"{seeds} seeds, no interval"
