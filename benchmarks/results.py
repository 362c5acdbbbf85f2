"""Scores of complete runs: a file with a line of JSON for each, and cells of tables.

A run that is in the file is not repeated, so that a table goes on where it was
interrupted, and several processes may fill one file.
"""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rkdo_plugin.recipes.comparison.paired import paired_difference

Row = dict[str, Any]
Rows = dict[tuple[str, int, int], Row]


def read(results: Path) -> Rows:
    """Finished runs by (name, epochs, seed)."""
    lines = results.read_text().splitlines() if results.exists() else []
    rows = map(json.loads, lines)
    return {(row["name"], row["epochs"], row["seed"]): row for row in rows}


def append(results: Path, row: Row) -> None:
    """Add a line, whole even where several processes write."""
    print(row, flush=True)
    with results.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(row) + "\n")


def scores_of(rows: Rows, name: str, epochs: int, score: str) -> dict[int, float]:
    """A score of an arm's runs by their seeds, of those that have it."""
    return {
        seed: row[score]
        for (n, e, seed), row in sorted(rows.items())
        if (n, e) == (name, epochs) and score in row
    }


def spread(scores: Mapping[int, float]) -> str:
    """Mean and standard deviation, in per cent."""
    values = 100 * np.array(list(scores.values()))
    if len(values) == 0:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def difference(own: Mapping[int, float], other: Mapping[int, float]) -> str:
    """Mean paired difference and its Student-t interval, in points.

    The interval is left out where `paired_difference` has none.
    """
    seeds = sorted(own.keys() & other.keys())
    points = ([100 * part[seed] for seed in seeds] for part in (own, other))
    found = paired_difference(*points)
    known = not np.isnan(found.low)
    interval = f"{found.low:+.2f} to {found.high:+.2f}" if known else ""
    return f"{found.mean:+.2f} | {interval}"
