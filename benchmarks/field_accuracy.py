"""What the response field is worth: the figures of docs/response-field.md.

    python benchmarks/field_accuracy.py run fashion RESULTS.jsonl
    python benchmarks/field_accuracy.py report RESULTS.jsonl

Every run is complete: its learning rate has decayed to almost nothing at its own last
step. A run that is in RESULTS.jsonl already is not repeated, so that a table goes on
where it was interrupted, and several processes may fill one file. An epoch of 10,000
images takes about nine seconds on one core.
"""

import argparse
import fcntl
import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluate import evaluate
from rkdo_plugin.recipes.features import load_model
from rkdo_plugin.recipes.train import train

CONFIDENCE = 0.95
COUPLINGS = (0.0, 0.1, 0.5, 1.0)
Row = dict[str, Any]


@dataclass(frozen=True)
class Arm:
    """One row of a table.

    Attributes:
        name: In the table.
        epochs: Lengths; each is a run of its own.
        seeds: Number of seeds, from 0.
        settings: Arguments of `train`.
        rivals: Pairs of own epochs and of "other arm, epochs" to compare with.
    """

    name: str
    epochs: tuple[int, ...]
    seeds: int
    settings: dict[str, Any]
    rivals: tuple[tuple[int, str, int], ...] = field(default=())


def simclr(temperature: float, data: str = "fashion-mnist", **more: Any) -> Row:
    """SimCLR with I-Con: NT-Xent's value, and copies of a sample are no negatives."""
    options = {"temperature": temperature}
    return {
        "recipe": "simclr",
        "loss": "icon",
        "loss_options": options,
        "data": data,
        **more,
    }


def start(name: str, **options: Any) -> Row:
    """A response field; what is not said is the command's own default."""
    return {"field": name, "field_options": options or None}


FASHION = simclr(0.1, limit=10_000)
WIDE = simclr(0.1, encoder="wide-convnet")
BYOL = {"recipe": "byol", "data": "fashion-mnist", "limit": 10_000}
DIGITS = simclr(0.2, data="digits")
GIVEN = ("pixels", "hog")

TABLES = {
    "fashion": [
        Arm("SimCLR", (4, 10, 30), 5, FASHION),
        Arm(
            "SimCLR, one-hot",
            (10,),
            5,
            FASHION | start("one-hot"),
            ((10, "SimCLR", 10),),
        ),
        *(
            Arm(
                f"SimCLR, {name}",
                (4, 10),
                5,
                FASHION | start(name),
                ((4, "SimCLR", 10), (10, "SimCLR", 30), (10, "SimCLR", 10)),
            )
            for name in GIVEN
        ),
        Arm("BYOL", (10,), 5, BYOL),
        *(
            Arm(f"BYOL, {name}", (10,), 5, BYOL | start(name), ((10, "BYOL", 10),))
            for name in GIVEN
        ),
    ],
    "temperature": [
        Arm(f"SimCLR, tau {tau}", (10,), 2, simclr(tau, limit=10_000))
        for tau in (0.05, 0.1, 0.2, 0.5)
    ],
    "wide": [
        Arm("wide SimCLR", (16,), 2, WIDE),
        *(
            Arm(
                f"wide SimCLR, {name}",
                (16,),
                2,
                WIDE | start(name),
                ((16, "wide SimCLR", 16),),
            )
            for name in GIVEN
        ),
    ],
    "digits": [
        Arm("digits SimCLR", (15,), 10, DIGITS),
        *(
            Arm(
                f"digits SimCLR, {name}",
                (10, 15),
                10,
                DIGITS | settings,
                ((10, "digits SimCLR", 15), (15, "digits SimCLR", 15)),
            )
            for name, settings in {
                "one-hot": start("one-hot"),
                "one-hot, w 1, a 1": start("one-hot", field_weight=1.0, coupling=1.0),
                "pixels": start("pixels"),
            }.items()
        ),
    ],
    "ablation": [
        Arm(
            f"{data} {name}, a {coupling}",
            (epochs,),
            3,
            settings | start(name, coupling=coupling),
        )
        for data, settings, epochs in (("fashion", FASHION, 10), ("digits", DIGITS, 15))
        for name in ("one-hot", "pixels")
        for coupling in COUPLINGS
    ],
}


def main() -> None:
    """Run a table, or report what was run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("table", choices=TABLES)
    for command in (run, commands.add_parser("report")):
        command.add_argument("results", type=Path)
    options = parser.parse_args()
    if options.command == "run":
        run_table(TABLES[options.table], options.results)
    else:
        report(read(options.results))


def run_table(arms: list[Arm], results: Path) -> None:
    """Train and evaluate what is not in the file yet, seed by seed."""
    torch.set_num_threads(1)
    for seed in range(max(arm.seeds for arm in arms)):
        for arm in arms:
            for epochs in arm.epochs if seed < arm.seeds else ():
                if (arm.name, epochs, seed) not in read(results):
                    append(results, run_one(arm, epochs, seed))


def run_one(arm: Arm, epochs: int, seed: int) -> Row:
    """One complete run's accuracies on the test images."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        run = train(
            out=folder,
            epochs=epochs,
            seed=seed,
            workers=0,
            progress=False,
            **arm.settings,
        )
        seconds = time.process_time() - started
        embed = load_model(run.folder).embed
    data = load_data(arm.settings["data"], limit=arm.settings.get("limit"))
    scores = evaluate(embed, data)
    return {"name": arm.name, "epochs": epochs, "seed": seed, "cpu": seconds, **scores}


def read(results: Path) -> dict[tuple[str, int, int], Row]:
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


def report(rows: dict[tuple[str, int, int], Row]) -> None:
    """Print every table as Markdown, with what is there."""

    def scores(name: str, epochs: int, score: str) -> dict[int, float]:
        return {
            seed: row[score]
            for (n, e, seed), row in sorted(rows.items())
            if (n, e) == (name, epochs)
        }

    for table, arms in TABLES.items():
        print(f"\n{table}: accuracy in %, mean ± standard deviation over seeds\n")
        print("| arm | epochs | seeds | kNN | linear |\n|---|---|---|---|---|")
        for arm in arms:
            for epochs in arm.epochs:
                knn, linear = (scores(arm.name, epochs, s) for s in ("knn", "linear"))
                if knn:
                    print(
                        f"| {arm.name} | {epochs} | {len(knn)} | {spread(knn)} "
                        f"| {spread(linear)} |"
                    )
        print("\n| kNN, paired by seed | difference | 95 % interval |\n|---|---|---|")
        for arm in arms:
            for epochs, rival, rival_epochs in arm.rivals:
                own = scores(arm.name, epochs, "knn")
                other = scores(rival, rival_epochs, "knn")
                if len(own.keys() & other.keys()) > 1:
                    print(
                        f"| {arm.name}, {epochs} - {rival}, {rival_epochs} "
                        f"| {difference(own, other)} |"
                    )


def spread(scores: dict[int, float]) -> str:
    """Mean and standard deviation, in per cent."""
    values = 100 * np.array(list(scores.values()))
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def difference(own: dict[int, float], other: dict[int, float]) -> str:
    """Mean paired difference and its Student-t interval, in points."""
    seeds = sorted(own.keys() & other.keys())
    points = 100 * np.array([own[seed] - other[seed] for seed in seeds])
    half = stats.sem(points) * stats.t.ppf((1 + CONFIDENCE) / 2, len(points) - 1)
    mean = points.mean()
    return f"{mean:+.2f} | {mean - half:+.2f} to {mean + half:+.2f}"


if __name__ == "__main__":
    main()
