"""Scores of finished runs, in memory and in a file that a benchmark goes on from."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

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


class Results:
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


class ResultsFile:
    """A file of results: a line of JSON says what they are of, then one for each.

    Args:
        path: The file, which need not be there yet.
        about: Data, protocol and version of the code.

    Raises:
        ValueError: The file is damaged, or its results are of something else.
    """

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        self.path = path
        self.results: list[Result] = []
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(about) + "\n")
            return
        try:
            text = path.read_text()
            # A line without an end is what a killed process began.
            found, *rows = map(json.loads, text.splitlines()[: text.count("\n")])
            self.results = [Result(**row) for row in rows]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Expected results of rkdo benchmark paper in {path} but got: {error}"
            ) from error
        other = [name for name in about if found.get(name) != about[name]]
        if other:
            raise ValueError(
                f"Expected {path} to hold results of this {' and '.join(other)}, "
                f"{', '.join(about[name] for name in other)}, but got "
                f"{', '.join(str(found.get(name)) for name in other)}; --restart "
                "removes them"
            )
        if not text.endswith("\n"):
            path.write_text(text[: text.rfind("\n") + 1])

    def add(self, results: Iterable[Result]) -> None:
        """Keep the results of a run, all or none."""
        results = list(results)
        self.results += results
        lines = "".join(json.dumps(asdict(result)) + "\n" for result in results)
        with self.path.open("a") as file:
            file.write(lines)
