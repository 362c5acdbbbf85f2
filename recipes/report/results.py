"""The last scores of arms, and how far each is from the first."""

from collections.abc import Sequence
from dataclasses import dataclass

from rkdo_plugin.recipes.comparison.paired import (
    Difference,
    holm,
    paired_difference,
)
from rkdo_plugin.recipes.report.arms import Arm, Point, mean_point

KNN = "knn"


@dataclass(frozen=True)
class Result:
    """What an arm came to.

    Attributes:
        arm: The arm.
        score: The mean of its runs' last kNN accuracies; None where none was logged.
        against: The difference from the first arm over the seeds of both; None for the
            first, or without such seeds.
        p: Its p-value, corrected by Holm for the number of arms; NaN where none is
            made.
    """

    arm: Arm
    score: Point | None
    against: Difference | None
    p: float

    @property
    def differs(self) -> bool:
        """Whether the difference is more than chance explains, at 5 %."""
        return self.p < 0.05


def results_of(arms: Sequence[Arm]) -> list[Result]:
    """Compare arms with the first that has a score, seed by seed.

    Args:
        arms: Finished arms.
    """
    last = [arm.last(KNN) for arm in arms]
    scores = [_score(arm, own) for arm, own in zip(arms, last, strict=True)]
    base = next((own for own in last if own), {})
    differences: list[Difference | None] = []
    for own in last:
        common = sorted(own.keys() & base.keys())
        if own is base or not common:
            differences.append(None)
            continue
        pair = [[each[seed] for seed in common] for each in (own, base)]
        differences.append(paired_difference(*pair))
    p_values = holm([d.p if d is not None else float("nan") for d in differences])
    return [
        Result(*row) for row in zip(arms, scores, differences, p_values, strict=True)
    ]


def _score(arm: Arm, last: dict[int, float]) -> Point | None:
    if not last:
        return None
    step = max(run.curves[KNN][-1][0] for run in arm.runs if KNN in run.curves)
    return mean_point(step, [*last.values()])
