"""Group runs that differ in nothing but the seed, and average them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rkdo_plugin.recipes.comparison.paired import paired_difference
from rkdo_plugin.recipes.report.runs import FoundRun

FIRST = ("recipe", "loss", "field", "encoder")  # these name an arm where they suffice
BARE = ("recipe", "encoder")  # their values say what they are
OBJECTIVE = ("recipe", "loss", "field", "batch_size")  # and the options of the three

Settings = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A curve's mean at a step.

    Attributes:
        step: Optimizer steps.
        mean: Over the seeds.
        low: Lower end of the 95 % interval of the mean by Student's t; None with fewer
            than three seeds, or where all values are the same.
        high: Its upper end.
        seeds: Number of seeds.
    """

    step: int
    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Arm:
    """Runs that differ in nothing but the seed.

    Attributes:
        name: What tells it from the other arms.
        runs: Its runs, by seed. A run that did not finish is an arm of its own.
        settings: Their settings but the seed; options as "loss.temperature".
    """

    name: str
    runs: tuple[FoundRun, ...]
    settings: Settings

    @property
    def finished(self) -> bool:
        """Whether its runs came to their end."""
        return self.runs[0].finished

    @property
    def objective(self) -> str:
        """The same for arms whose losses compare."""
        parts = {
            key: value
            for key, value in self.settings.items()
            if key.partition(".")[0] in OBJECTIVE
        }
        return repr(sorted(parts.items(), key=lambda part: part[0]))

    def curve(self, metric: str) -> list[Point]:
        """The mean of what was logged at each step, over the seeds that have it."""
        by_step: dict[int, list[float]] = {}
        for run in self.runs:
            for step, value in run.curves.get(metric, ()):
                by_step.setdefault(step, []).append(value)
        return [mean_point(step, values) for step, values in sorted(by_step.items())]

    def last(self, metric: str) -> dict[int, float]:
        """The last value of each seed that logged any."""
        curves = {run.seed: run.curves.get(metric, ()) for run in self.runs}
        return {seed: curve[-1][1] for seed, curve in curves.items() if curve}


def mean_point(step: int, values: Sequence[float]) -> Point:
    """The mean of values, one a seed, with its interval.

    Example:
        >>> round(mean_point(5, [0.5, 0.6, 0.7]).low or 0, 4)
        0.3516
        >>> mean_point(5, [0.5, 0.6]).low is None
        True
    """
    found = paired_difference(values, [0.0] * len(values))  # from nothing
    if math.isnan(found.low):
        return Point(step, found.mean, None, None, len(values))
    return Point(step, found.mean, found.low, found.high, len(values))


def arms_of(runs: Sequence[FoundRun]) -> list[Arm]:
    """Group runs into arms, in the order of their first runs.

    Raises:
        ValueError: Two runs of an arm have the same seed: they are the same run.
    """
    groups: dict[str, list[FoundRun]] = {}
    for run in runs:
        kind = "" if run.finished else str(run.folder)
        key = repr((sorted(flat(run.config).items(), key=lambda part: part[0]), kind))
        groups.setdefault(key, []).append(run)
    grouped = []
    for group in groups.values():
        by_seed: dict[int, FoundRun] = {}
        for run in group:
            other = by_seed.setdefault(run.seed, run)
            if other is not run:
                raise ValueError(
                    "Expected runs that differ, if only in the seed, but "
                    f"{other.folder} and {run.folder} have the same settings and seed "
                    f"{run.seed}: together they would pass for two seeds"
                )
        grouped.append(tuple(by_seed[seed] for seed in sorted(by_seed)))
    whole = [flat(group[0].config) for group in grouped if group[0].finished]
    names = iter(names_of(whole))
    alike = Counter(run.folder.name for run in runs if not run.finished)
    return [
        Arm(_name(group[0], names, alike), group, flat(group[0].config))
        for group in grouped
    ]


def _name(run: FoundRun, names: Iterator[str], alike: Counter[str]) -> str:
    """The next name for a finished run; its folder for another."""
    if run.finished:
        return next(names)
    folder = run.folder if alike[run.folder.name] > 1 else run.folder.name
    return f"{folder}, {run.epochs_done} of {run.config['epochs']} epochs"


def flat(config: Mapping[str, Any]) -> Settings:
    """Settings without the seed; the options of a loss as "loss.temperature"."""
    found: Settings = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            part = key.removesuffix("_options")
            found |= {f"{part}.{name}": entry for name, entry in value.items()}
        elif key != "seed" and value is not None:
            found[key] = value
    return found


def differing(settings: Sequence[Settings]) -> list[str]:
    """The keys in which settings differ, those that name arms first."""
    keys = dict.fromkeys([*FIRST, *(key for each in settings for key in each)])
    return [key for key in keys if len({repr(s.get(key)) for s in settings}) > 1]


def names_of(settings: Sequence[Settings]) -> list[str]:
    """Short names that tell settings apart: the loss, and differences that suffice.

    Equal settings have equal names.
    """
    names = [[str(each.get("loss", each.get("recipe", "run")))] for each in settings]
    told = [[*own] for own in names]
    for key in differing(settings):
        values = [repr(each.get(key)) for each in settings]
        finer = [[*own, value] for own, value in zip(told, values, strict=True)]
        if len({*map(repr, finer)}) == len({*map(repr, told)}):
            continue
        told = finer
        for name, each in zip(names, settings, strict=True):
            if key in each:
                name.append(str(each[key]) if key in BARE else f"{key} {each[key]}")
    return [", ".join(name) for name in names]
