"""One option at a time: the tables of docs/ablations.md.

    python benchmarks/ablations.py run rkdo-depth OUT.csv
    python benchmarks/ablations.py report FOLDER

The first line of a file is the command that wrote it. Runs that are in the file are not
repeated. Seeds are the outer loop, so that a table which was interrupted has the same
seeds for every value, but for the last. A run on digits takes about 5 seconds on one
core. `report` prints a table for each file NAME.csv of a folder.
"""

import argparse
import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from held import load_held
from held_run import fit_arm
from leave_one_out import leave_one_out
from results import Row, Rows, difference, scores_of, spread

from rkdo_plugin import FieldCallback
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.accuracy import embed_images
from rkdo_plugin.recipes.training.settings import RunSettings

EPOCHS = 15
SCORES = ("knn", "linear", "leave_one_out", "seconds")
HEADER = ("ablation", "value", "epochs", "seed", *SCORES)
CHECKPOINT = "checkpoint"
CANDIDATES = "search_samples"  # no setting of a run, but of its field


@dataclass(frozen=True)
class Ablation:
    """The values of one option.

    Attributes:
        option: What is varied.
        default: The value that the others are compared with.
        arms: Value -> fields of `RunSettings`.
    """

    option: str
    default: str
    arms: dict[str, Row]


def loss(name: str, **options: float) -> Row:
    """SimCLR with a loss; what is not given has the loss's own default."""
    return {"loss": name, "loss_options": options}


def field(start: str, **options: float | str) -> Row:
    """SimCLR with I-Con and a field, of a fixed weight unless it is given."""
    options = {"field_weight": 0.5} | options
    return PLAIN | {"field": start, "field_options": options}


PLAIN = loss("icon", temperature=0.2)
TEMPERATURES = (0.1, 0.2, 0.5, 1.0)
COUPLINGS = (0.0, 0.1, 0.5, 1.0)

ABLATIONS = {
    "rkdo-coupling": Ablation(
        "coupling", "0.5", {f"{a:g}": loss("rkdo", coupling=a) for a in COUPLINGS}
    ),
    "rkdo-depth": Ablation(
        "depth", "3", {str(depth): loss("rkdo", depth=depth) for depth in (1, 2, 3, 5)}
    ),
    "rkdo-detach": Ablation(
        "detach",
        "false",
        {
            "false": loss("rkdo", detach_target=False),
            "true": loss("rkdo", detach_target=True),
        },
    ),
    "rkdo-temperature": Ablation(
        "temperature",
        "0.5",
        {f"{tau:g}": loss("rkdo", temperature=tau) for tau in TEMPERATURES},
    ),
    "icon-temperature": Ablation(
        "temperature",
        "0.5",
        {f"{tau:g}": loss("icon", temperature=tau) for tau in TEMPERATURES},
    ),
    "field-start": Ablation(
        "start",
        "no field",
        {
            "no field": PLAIN,
            "one-hot": field("one-hot"),
            "pixels": field("pixels"),
            "hog": field("hog"),
            "a checkpoint of 15 epochs": field(CHECKPOINT),
            "no field, 30 epochs": PLAIN | {"epochs": 2 * EPOCHS},
        },
    ),
    "field-coupling": Ablation(
        "coupling", "0", {f"{a:g}": field("pixels", coupling=a) for a in COUPLINGS}
    ),
    "field-weight": Ablation(
        "weight",
        "auto",
        {
            str(weight): field("pixels", field_weight=weight)
            for weight in (0, 0.25, 0.5, 0.75, 1, "auto")
        },
    ),
    "field-neighbors": Ablation(
        "k", "8", {str(k): field("pixels", neighbors=k) for k in (2, 4, 8, 16, 32)}
    ),
    "field-search": Ablation(
        "search",
        "exact",
        {
            "exact": field("pixels", coupling=0.5),
            **{
                f"sampled, {samples} candidates": {
                    **field("pixels", coupling=0.5, search="sampled"),
                    CANDIDATES: samples,
                }
                for samples in (512, 128, 32)
            },
        },
    ),
}


class Candidates(pl.Callback):
    """Sets the number of random candidates of the field's sampled search."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """The field is there by now."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, FieldCallback):
                callback.field.search_samples = self.samples


def main(arguments: Sequence[str] | None = None) -> None:
    """Run an ablation, or report what was run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("name", choices=ABLATIONS)
    run.add_argument("out", type=Path)
    run.add_argument("--data", default="digits")
    run.add_argument("--seeds", type=int, default=5, help="number of seeds")
    commands.add_parser("report").add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "report":
        print(report(options.folder))
        return
    torch.set_num_threads(1)
    begin(options.out, command(options.name, options.data, options.seeds, options.out))
    data = load_held(options.data)
    for seed in range(options.seeds):
        run_seed(options.out, options.name, data, seed)


def command(name: str, data: str, seeds: int, out: Path) -> str:
    """The command line of an ablation, with its defaults written out."""
    words = ("--data", data, "--seeds", str(seeds), str(out))
    return shlex.join(("python", "benchmarks/ablations.py", "run", name, *words))


def begin(file: Path, line: str) -> None:
    """Begin the file of a command, or go on with it.

    Raises:
        ValueError: Another command wrote it.
    """
    if not file.exists():
        file.write_text(f"# {line}\n{','.join(HEADER)}\n")
    first = file.read_text().partition("\n")[0]
    if first != f"# {line}":
        raise ValueError(
            f"Expected {file} to start with '# {line}' but got '{first}': name a file "
            "that does not exist, or give the command that it starts with"
        )


def run_seed(file: Path, name: str, data: ImageData, seed: int) -> None:
    """Train and evaluate the values that the file lacks for a seed."""
    for value, arm in ABLATIONS[name].arms.items():
        settings = settings_of(arm, data, seed)
        if (value, settings.epochs, seed) not in read(file):
            scores = run_one(settings, data, arm.get(CANDIDATES))
            cells = (f"{scores[score]:.5f}" for score in SCORES)
            with file.open("a", newline="") as out:
                csv.writer(out, lineterminator="\n").writerow(
                    (name, value, settings.epochs, seed, *cells)
                )


def settings_of(arm: Row, data: ImageData, seed: int) -> RunSettings:
    """The settings of a run."""
    common = {"encoder": "small-convnet", "augment": "batches", "epochs": EPOCHS}
    given = {key: value for key, value in arm.items() if key != CANDIDATES}
    return RunSettings(**(common | given), data=data.name, seed=seed)


def run_one(settings: RunSettings, data: ImageData, candidates: int | None) -> Row:
    """One complete run's accuracies, and its training's seconds of the processor."""
    features = None
    if settings.field == CHECKPOINT:
        earlier = replace(settings, field=None, field_options=None)
        embed = fit_arm(earlier, data).recipe.frozen(data).embed
        features, _ = embed_images(embed, data.train, data)
    callbacks = [] if candidates is None else [Candidates(candidates)]
    run = fit_arm(settings, data, features=features, callbacks=callbacks)
    embed = run.recipe.frozen(data).embed
    scores = run.scores()
    left_out = leave_one_out(embed, data)
    return scores | {"leave_one_out": left_out, "seconds": scores["cpu"]}


def read(file: Path) -> Rows:
    """Finished runs by (value, epochs, seed)."""
    rows = csv.DictReader(file.read_text().splitlines()[1:])
    return {
        (row["value"], int(row["epochs"]), int(row["seed"])): {
            score: float(row[score]) for score in SCORES
        }
        for row in rows
    }


def report(folder: Path) -> str:
    """Every table as Markdown, with what is there."""
    tables = []
    for name, ablation in ABLATIONS.items():
        file = folder / f"{name}.csv"
        if file.exists():
            first = file.read_text().partition("\n")[0]
            lines = table(ablation, read(file))
            tables.append("\n".join([f"`{first.removeprefix('# ')}`", "", *lines]))
    return "\n\n".join(tables)


def table(ablation: Ablation, rows: Rows) -> list[str]:
    """A line for each value: mean and deviation over seeds, and paired differences."""
    lines = [
        f"| {ablation.option} | seeds | kNN, leave one out | less the default's | "
        "95 % interval | kNN, test images | linear, test images |",
        "|---" * 7 + "|",
    ]

    def scores(value: str, score: str) -> dict[int, float]:
        epochs = ablation.arms[value].get("epochs", EPOCHS)
        return scores_of(rows, value, epochs, score)

    default = scores(ablation.default, "leave_one_out")
    for value in ablation.arms:
        left_out, knn, linear = (
            scores(value, score) for score in ("leave_one_out", "knn", "linear")
        )
        if not left_out:
            continue
        name, compared = f"{value} (default)", " | "
        if value != ablation.default:
            name = value
            if left_out.keys() & default.keys():
                compared = difference(left_out, default)
        lines.append(
            f"| {name} | {len(left_out)} | {spread(left_out)} | {compared} "
            f"| {spread(knn)} | {spread(linear)} |"
        )
    return lines


if __name__ == "__main__":
    main()
