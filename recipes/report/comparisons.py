"""Read what `rkdo compare-losses` left: the scores of each contender's runs."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rkdo_plugin.recipes.comparison.results import ABOUT, CURVES, TABLE
from rkdo_plugin.recipes.comparison.scoring import KNN, RANK
from rkdo_plugin.recipes.evaluation.run_folder import read_lines
from rkdo_plugin.recipes.report.arms import Point, mean_point
from rkdo_plugin.recipes.report.runs import MOST_STEPS

Scores = dict[str, dict[int, dict[int, float]]]
"""Contender -> steps of a length -> seed -> score."""

SHARED = (
    "data",
    "recipe",
    "encoder",
    "batch_size",
    "limit",
    "image_size",
    "precision",
)


@dataclass(frozen=True)
class FoundComparison:
    """A comparison, as far as its folder tells of it.

    Attributes:
        folder: Holds comparison.json, curves.csv and table.md.
        scores: Of the runs that did not fail.
        failed: How runs failed that did, in words.
        settings: What all its runs share.
        code: The version of the code that computed them.
        fingerprint: A hash of their images.
        table: All tables that the command printed, as Markdown.
    """

    folder: Path
    scores: Scores
    failed: tuple[str, ...]
    settings: dict[str, Any]
    code: str
    fingerprint: str
    table: str

    @property
    def measure(self) -> str:
        """What the scores are, as its table calls it."""
        return KNN if KNN in self.table else RANK

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
        ValueError: comparison.json, curves.csv or table.md is damaged.
    """
    for name in (ABOUT, CURVES, TABLE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"Expected a finished comparison in {folder} but it has no {name}: the "
                "same command of rkdo compare-losses goes on"
            )
    try:
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        shared = {key: about["settings"][key] for key in SHARED}
        code, fingerprint = about["code"], about["data"]
        if not isinstance(code, str) or not isinstance(fingerprint, str):
            raise TypeError("Expected words")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"Expected {folder / ABOUT} to say what was compared but it is damaged"
        ) from error
    scores, failed = _read_scores(folder / CURVES)
    table = (folder / TABLE).read_text("utf-8", "replace")
    return FoundComparison(folder, scores, failed, shared, code, fingerprint, table)


def _read_scores(path: Path) -> tuple[Scores, tuple[str, ...]]:
    """The scores of the runs, and in words which failed.

    Raises:
        ValueError: A line is none that `rkdo compare-losses` writes.
    """
    scores: Scores = {}
    failed = []
    for number, line in enumerate(read_lines(path), start=2):
        try:
            name, steps, seed = line["contender"], int(line["steps"]), int(line["seed"])
            score = float(line["score"]) if line["score"] else None
            if name is None or not math.isfinite(score or 0):
                raise ValueError("Expected a name and a finite score")
            if not 0 <= steps < MOST_STEPS:
                raise ValueError("Expected a number of steps")
            error = line["error"]
        except (KeyError, TypeError, ValueError) as fault:
            raise ValueError(
                f"Expected line {number} of {path} to be a run's score but got "
                f"{list(line.values())}"
            ) from fault
        lengths = scores.setdefault(name, {})
        if score is not None:
            lengths.setdefault(steps, {})[seed] = score
        else:
            failed.append(f"{name}, {steps:,} steps, seed {seed}: {error}")
    return scores, tuple(failed)
