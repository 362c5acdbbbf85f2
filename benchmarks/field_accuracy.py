"""What the response field is worth: the figures of docs/response-field.md.

    python benchmarks/field_accuracy.py run fashion RESULTS.jsonl
    python benchmarks/field_accuracy.py report RESULTS.jsonl

Every run is complete: its learning rate has decayed to almost nothing at its own last
step. A run that is in RESULTS.jsonl already is not repeated, so that a table goes on
where it was interrupted, and several processes may fill one file. An epoch of 10,000
images takes about nine seconds on one core.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from leave_one_out import leave_one_out
from results import Row, Rows, append, difference, read, scores_of, spread

from rkdo_plugin.export import freeze
from rkdo_plugin.recipes.evaluation.accuracy import evaluate
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

SCORES = ("knn", "linear", "leave-one-out")
COUPLINGS = (0.0, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Arm:
    """One row of a table.

    Attributes:
        name: In the table.
        epochs: Lengths; each is a run of its own.
        seeds: Number of seeds.
        settings: Fields of `RunSettings`.
        rivals: Pairs of own epochs and of "other arm, epochs" to compare with.
        first_seed: Later than 0 where the settings were chosen on the first seeds.
    """

    name: str
    epochs: tuple[int, ...]
    seeds: int
    settings: dict[str, Any]
    rivals: tuple[tuple[int, str, int], ...] = field(default=())
    first_seed: int = 0

    def has(self, seed: int) -> bool:
        """Whether the seed is one of this arm's."""
        return self.first_seed <= seed < self.first_seed + self.seeds


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
    """A response field of a fixed weight; else, the command's own defaults."""
    return {"field": name, "field_options": {"field_weight": 0.5} | options}


FASHION = simclr(0.1, limit=10_000)
WIDE = simclr(0.1, encoder="wide-convnet")
BYOL = {"recipe": "byol", "data": "fashion-mnist", "limit": 10_000}
DIGITS = simclr(0.2, data="digits")
SMALL_BATCHES = simclr(0.5, data="digits", batch_size=64)  # 22 steps an epoch
COLD_SMALL_BATCHES = simclr(0.2, data="digits", batch_size=64)
SHARP_FIELD = start("one-hot", field_weight=1.0, neighbors=4, teacher_temperature=0.02)
FRESH_FIELD = start("one-hot", field_weight=1.0, neighbors=4, coupling=1.0)
GIVEN = {name: start(name, field_weight=1.0) for name in ("pixels", "hog")}

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
                FASHION | given,
                ((4, "SimCLR", 10), (10, "SimCLR", 30), (10, "SimCLR", 10)),
            )
            for name, given in GIVEN.items()
        ),
        Arm("BYOL", (10,), 5, BYOL),
        *(
            Arm(f"BYOL, {name}", (10,), 5, BYOL | given, ((10, "BYOL", 10),))
            for name, given in GIVEN.items()
        ),
    ],
    "weight": [
        Arm(name, (10,), 5, settings, rivals)
        for name, settings, rivals in (
            ("SimCLR", FASHION, ()),
            ("SimCLR, hog", FASHION | GIVEN["hog"], ((10, "SimCLR", 10),)),
            ("SimCLR, hog, w 0.5", FASHION | start("hog"), ((10, "SimCLR", 10),)),
            ("BYOL", BYOL, ()),
            ("BYOL, hog", BYOL | GIVEN["hog"], ((10, "BYOL", 10),)),
            ("BYOL, hog, w 0.5", BYOL | start("hog"), ((10, "BYOL", 10),)),
        )
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
                WIDE | given,
                ((16, "wide SimCLR", 16),),
            )
            for name, given in GIVEN.items()
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
                "pixels": GIVEN["pixels"],
            }.items()
        ),
        Arm(
            "digits SimCLR, batch 64",
            (21, 30),
            10,
            SMALL_BATCHES,
            ((21, "digits SimCLR, batch 64", 30),),
            first_seed=10,
        ),
        *(
            Arm(
                f"digits SimCLR, batch 64, {name}",
                epochs,
                10,
                settings,
                (
                    (21, "digits SimCLR, batch 64", 30),
                    (21, "digits SimCLR, batch 64", 21),
                    (30, "digits SimCLR, batch 64", 30),
                ),
                first_seed=10,
            )
            for name, epochs, settings in (
                ("one-hot, tau 0.5", (21, 30), SMALL_BATCHES | SHARP_FIELD),
                ("one-hot, tau 0.2", (21,), COLD_SMALL_BATCHES | FRESH_FIELD),
            )
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
    for seed in range(max(arm.first_seed + arm.seeds for arm in arms)):
        for arm in arms:
            for epochs in arm.epochs if arm.has(seed) else ():
                if (arm.name, epochs, seed) not in read(results):
                    append(results, run_one(arm, epochs, seed))


def run_one(arm: Arm, epochs: int, seed: int) -> Row:
    """One complete run's accuracies on the test images."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        settings = RunSettings(epochs=epochs, seed=seed, **arm.settings)
        run = train(settings, folder, Execution(workers=0, progress=False))
        seconds = time.process_time() - started
        embed = freeze(run.checkpoint).embed
    scores = evaluate(embed, run.data)
    if arm.settings["data"] == "digits":  # 360 test images tell little apart
        scores["leave-one-out"] = leave_one_out(embed, run.data)
    return {"name": arm.name, "epochs": epochs, "seed": seed, "cpu": seconds, **scores}


def report(rows: Rows) -> None:
    """Print every table as Markdown, with what is there."""
    scores = partial(scores_of, rows)
    for table, arms in TABLES.items():
        print(f"\n{table}: accuracy in %, mean ± standard deviation over seeds\n")
        print("| arm | epochs | seeds | kNN | linear | kNN, leave one out |")
        print("|---|---|---|---|---|---|")
        for arm in arms:
            for epochs in arm.epochs:
                knn, *others = (scores(arm.name, epochs, score) for score in SCORES)
                if knn:
                    print(
                        f"| {arm.name} | {epochs} | {len(knn)} | {spread(knn)} | "
                        f"{' | '.join(spread(other) for other in others)} |"
                    )
        for score in ("knn", "leave-one-out"):
            print(f"\n| {score}, paired by seed | difference | 95 % interval |")
            print("|---|---|---|")
            for arm in arms:
                for epochs, rival, rival_epochs in arm.rivals:
                    own = scores(arm.name, epochs, score)
                    other = scores(rival, rival_epochs, score)
                    if len(own.keys() & other.keys()) > 1:
                        print(
                            f"| {arm.name}, {epochs} - {rival}, {rival_epochs} "
                            f"| {difference(own, other)} |"
                        )


if __name__ == "__main__":
    main()
