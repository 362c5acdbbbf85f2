"""Scores of the runs of an experiment, by loss, length and seed."""

from collections.abc import Iterable
from dataclasses import dataclass

from rkdo_plugin.recipes.paper.protocol import ICON, RKDO
from rkdo_plugin.recipes.paper.run import Scores


@dataclass(frozen=True)
class Result:
    """An encoder's scores.

    Attributes:
        loss: What it was trained with, "untrained" or "pixels".
        seed: Of its run.
        epochs: How long it was trained.
        scores: By their names.
    """

    loss: str
    seed: int
    epochs: int
    scores: Scores


class Scored:
    """All results on one data set.

    Args:
        data: Its name.
        results: In any order; more of them may be missing.
    """

    def __init__(self, data: str, results: Iterable[Result]) -> None:
        self.data = data
        self.by_key = {(r.loss, r.epochs, r.seed): r for r in results}
        self.epochs = sorted({r.epochs for r in self.by_key.values() if r.epochs})

    def of(self, loss: str, epochs: int, score: str) -> dict[int, float]:
        """A score by seed, of the runs that have it."""
        return {
            seed: result.scores[score]
            for (name, length, seed), result in sorted(self.by_key.items())
            if (name, length) == (loss, epochs) and score in result.scores
        }

    def pairs(self, epochs: int, score: str) -> tuple[list[float], list[float]]:
        """RKDO's and I-Con's scores at the seeds that both have."""
        rkdo, icon = (self.of(loss, epochs, score) for loss in (RKDO, ICON))
        seeds = sorted(rkdo.keys() & icon.keys())
        return [rkdo[s] for s in seeds], [icon[s] for s in seeds]
