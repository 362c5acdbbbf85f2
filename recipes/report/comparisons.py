"""Read what `rkdo compare-losses` left: the scores of each contender's runs."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rkdo_plugin.recipes.comparison.results import RESULT, RUNS
from rkdo_plugin.recipes.report.arms import Point, mean_point

CURVES = "curves.csv"
TABLE = "table.md"


@dataclass(frozen=True)
class FoundComparison:
    """A comparison, as far as its folder tells of it.

    Attributes:
        folder: Holds runs.jsonl, curves.csv and table.md.
        scores: Contender -> steps of a length -> seed -> score.
        failed: How runs failed that did, in words.
        settings: What all its runs share.
        code: The version of the code that computed them.
        fingerprint: A hash of their images.
        table: All tables that the command printed, as Markdown.
    """

    folder: Path
    scores: dict[str, dict[int, dict[int, float]]]
    failed: tuple[str, ...]
    settings: dict[str, Any]
    code: str
    fingerprint: str
    table: str

    @property
    def measure(self) -> str:
        """What the scores are, as its table calls it."""
        return "kNN accuracy" if "kNN accuracy, %" in self.table else "RankMe"

    def curve(self, contender: str) -> list[Point]:
        """The mean score of complete runs of each length."""
        lengths = sorted(self.scores[contender].items())
        return [mean_point(steps, [*by_seed.values()]) for steps, by_seed in lengths]


def read_found_comparison(folder: Path) -> FoundComparison:
    """Read the folder of a finished comparison.

    Args:
        folder: What `rkdo compare-losses` left.

    Raises:
        FileNotFoundError: The comparison is not finished, so that its tables lack.
        ValueError: Its runs are damaged, or none is of the result.
    """
    for name in (CURVES, TABLE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"Expected a finished comparison in {folder} but it has no {name}: the "
                "same command of rkdo compare-losses goes on"
            )
    row = _a_result(folder / RUNS)
    scores: dict[str, dict[int, dict[int, float]]] = {}
    failed = []
    with (folder / CURVES).open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            name, steps, seed = line["contender"], int(line["steps"]), int(line["seed"])
            lengths = scores.setdefault(name, {})
            if line["score"]:
                lengths.setdefault(steps, {})[seed] = float(line["score"])
            else:
                failed.append(f"{name}, {steps:,} steps, seed {seed}: {line['error']}")
    own = ("data", "recipe", "encoder", "batch_size", "limit", "image_size")
    return FoundComparison(
        folder,
        scores,
        tuple(failed),
        {key: row["settings"].get(key) for key in own},
        row["code"],
        row["data"],
        (folder / TABLE).read_text("utf-8"),
    )


def _a_result(path: Path) -> dict[str, Any]:
    """The first row that is no tuning."""
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        results = [row for row in rows if row["purpose"] == RESULT]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected the runs of a comparison in {path} but a line is damaged"
        ) from error
    if not results:
        raise ValueError(f"Expected {path} to hold runs of the result but got none")
    first: dict[str, Any] = results[0]
    return first
