"""Read what `rkdo compare-losses` left: the scores of each contender's runs."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rkdo_plugin.recipes.comparison.results import ABOUT, CURVES, TABLE
from rkdo_plugin.recipes.comparison.scoring import KNN, RANK
from rkdo_plugin.recipes.report.arms import Point, mean_point

SHARED = ("data", "recipe", "encoder", "batch_size", "limit", "image_size")


@dataclass(frozen=True)
class FoundComparison:
    """A comparison, as far as its folder tells of it.

    Attributes:
        folder: Holds comparison.json, curves.csv and table.md.
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
        ValueError: comparison.json is damaged.
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
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"Expected {folder / ABOUT} to say what was compared but it is damaged"
        ) from error
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
    return FoundComparison(
        folder,
        scores,
        tuple(failed),
        shared,
        code,
        fingerprint,
        (folder / TABLE).read_text("utf-8"),
    )
