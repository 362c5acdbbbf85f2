"""What the recursion adds to neighbours by HOG: mixture, coupling and weight.

    python benchmarks/field_recursion.py run RESULTS.jsonl --cifar10 FOLDER
    python benchmarks/field_recursion.py report RESULTS.jsonl
    python benchmarks/field_recursion.py plot RESULTS.jsonl PICTURE.png

On 10,000 images of Fashion-MNIST and of CIFAR-10, drawn evenly from all classes, with
SimCLR. FOLDER holds CIFAR-10 as train/CLASS/*.jpg and test/CLASS/*.jpg; without it that
part is left out. With coupling 0 the rows stay as they start; with coupling 1 both
mixtures are the same. The first seed's runs note purity, trust and accuracy after every
epoch, which the plot shows. Runs that are in RESULTS.jsonl are not repeated; `--part
0/2` and `--part 1/2` share them between two processes.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from held import load_held
from held_run import run_arm
from results import Rows, append, difference, read, scores_of, spread

from rkdo_plugin import FieldCallback, ResponseField
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.draw import draw, labels_of
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy
from rkdo_plugin.recipes.field.features import features_by_name
from rkdo_plugin.recipes.field.purity import purity
from rkdo_plugin.recipes.pictures.palette import CLASSES, new_figure, save
from rkdo_plugin.recipes.training.settings import RunSettings

IMAGES = 10_000
EPOCHS = {"fashion-mnist": 10, "cifar10": 15}
TEMPERATURES = {"fashion-mnist": 0.1, "cifar10": 0.2}
MIXTURES = ("linear", "log-linear")
COUPLINGS = (0.1, 0.5)
WEIGHTS = (0.5, 1.0)
PLOTTED = 0.5  # weight of the fields in the plot
TESTED = 2_000  # test images after every epoch


@dataclass(frozen=True)
class Arm:
    """One row of the table; without a weight there is no field."""

    data: str
    weight: float | str | None = None
    coupling: float = 0.0
    mixture: str = "linear"

    @property
    def label(self) -> str:
        """In the tables and the plot."""
        if self.weight is None:
            return "no field"
        if self.coupling in (0, 1):
            return f"coupling {self.coupling:g}"
        return f"{self.mixture}, coupling {self.coupling:g}"

    @property
    def name(self) -> str:
        """In the file of results."""
        field = "" if self.weight is None else f", weight {self.weight}"
        return f"{self.data}, {self.label}{field}"

    def settings(self, seed: int) -> RunSettings:
        """The settings of a run."""
        options = {
            "field_weight": self.weight,
            "coupling": self.coupling,
            "mixture": self.mixture,
        }
        return RunSettings(
            recipe="simclr",
            loss="icon",
            loss_options={"temperature": TEMPERATURES[self.data]},
            encoder="small-convnet",
            data=self.data,
            field=None if self.weight is None else "hog",
            field_options=None if self.weight is None else options,
            epochs=EPOCHS[self.data],
            augment="batches",
            seed=seed,
        )


def arms_of(data: str) -> list[Arm]:
    """Of one data set."""
    recursions = [(0.0, "linear"), *((a, m) for a in COUPLINGS for m in MIXTURES)]
    return [
        Arm(data),
        *(
            Arm(data, w, a, m)
            for w in WEIGHTS
            for a, m in [*recursions, (1.0, "linear")]
        ),
        Arm(data, "auto"),
    ]


class Curve(pl.Callback):
    """Purity, trust and kNN accuracy after every epoch.

    Attributes:
        points: A dict for each epoch.
    """

    def __init__(self, data: ImageData) -> None:
        self.data = data
        self.points: list[dict[str, float]] = []
        self.train = as_arrays(data.train, data.image_size)
        few = draw(data.test, TESTED, 0)
        self.test = as_arrays(few, data.image_size)
        self.labels = torch.from_numpy(labels_of(data.train))

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Measure, without a trace in the training."""
        assert isinstance(pl_module, Recipe)
        embed = pl_module.frozen(self.data).embed
        (train, train_labels), (test, test_labels) = self.train, self.test
        knn = knn_accuracy(embed(train), train_labels, embed(test), test_labels)
        self.points.append({"knn": knn, **self._field(trainer)})

    def _field(self, trainer: pl.Trainer) -> dict[str, float]:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, FieldCallback):
                field = callback.field
                assert isinstance(field, ResponseField)
                rows = purity(field.ids, field.weights, self.labels)
                return {"purity": float(rows.nanmean()), "trust": field.trust}
        return {}


def main(arguments: list[str] | None = None) -> None:
    """Run, report or plot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run, table, plot = (commands.add_parser(name) for name in ("run", "report", "plot"))
    for command in (run, table, plot):
        command.add_argument("results", type=Path)
    plot.add_argument("picture", type=Path)
    run.add_argument("--cifar10", metavar="FOLDER")
    run.add_argument("--part", default="0/1", metavar="I/N")
    run.add_argument("--seeds", type=int, default=3, help="number of seeds")
    options = parser.parse_args(arguments)
    if options.command == "run":
        part, parts = map(int, options.part.split("/"))
        sources = {"fashion-mnist": "fashion-mnist"}
        if options.cifar10 is not None:
            sources["cifar10"] = options.cifar10
        run_part(options.results, sources, options.seeds, part, parts)
    elif options.command == "plot":
        draw_curves(read(options.results), options.picture)
    else:
        print(report(read(options.results)))


def run_part(
    results: Path, sources: dict[str, str], seeds: int, part: int, parts: int
) -> None:
    """Train and evaluate every `parts`-th run that is not in the file yet."""
    torch.set_num_threads(1)
    data = {name: load_held(source, limit=IMAGES) for name, source in sources.items()}
    features = {name: features_by_name("hog", images) for name, images in data.items()}
    runs = [
        (arm, seed) for seed in range(seeds) for name in data for arm in arms_of(name)
    ]
    for arm, seed in runs[part::parts]:
        epochs = EPOCHS[arm.data]
        if (arm.name, epochs, seed) in read(results):
            continue
        curve = Curve(data[arm.data])
        scores = run_arm(
            arm.settings(seed),
            data[arm.data],
            features=None if arm.weight is None else features[arm.data],
            callbacks=[curve] if seed == 0 else [],
        )
        row = {"name": arm.name, "epochs": epochs, "seed": seed, "curve": curve.points}
        append(results, row | scores)


def report(rows: Rows) -> str:
    """Means over the seeds, as Markdown, with differences to the fixed rows."""
    lines = [
        "| data, weight | recursion | kNN | less coupling 0, 95 % interval | linear |",
        "|---|---|---|---|---|",
    ]
    for data, epochs in EPOCHS.items():
        for arm in arms_of(data):
            knn = scores_of(rows, arm.name, epochs, "knn")
            if not knn:
                continue
            fixed = scores_of(rows, Arm(data, arm.weight).name, epochs, "knn")
            compared = arm.coupling > 0 and len(knn.keys() & fixed.keys()) > 1
            ahead = difference(knn, fixed).replace(" | ", ", ") if compared else ""
            weight = "" if arm.weight is None else f", {arm.weight}"
            linear = spread(scores_of(rows, arm.name, epochs, "linear"))
            lines.append(
                f"| {data}{weight} | {arm.label} | {spread(knn)} | {ahead} | {linear} |"
            )
    return "\n".join(lines)


def curves(rows: Rows, data: str) -> Iterator[tuple[Arm, list[dict[str, Any]]]]:
    """The noted epochs of the arms that the plot shows."""
    for arm in arms_of(data):
        row = rows.get((arm.name, EPOCHS[data], 0), {})
        if arm.weight in (None, PLOTTED, "auto") and row.get("curve"):
            yield arm, row["curve"]


def draw_curves(rows: Rows, picture: Path) -> None:
    """Purity, trust and accuracy over the epochs, a column for each data set."""
    names = [name for name in EPOCHS if any(curves(rows, name))]
    figure = new_figure(4.5 * len(names), 8, layout="constrained")
    for column, data in enumerate(names):
        for place, (key, title) in enumerate(
            (("purity", "purity"), ("trust", "trust"), ("knn", "kNN accuracy, %"))
        ):
            axes = figure.add_subplot(3, len(names), place * len(names) + column + 1)
            for (arm, points), color in zip(curves(rows, data), CLASSES, strict=False):
                values = np.array([point.get(key, np.nan) for point in points])
                name = "auto, coupling 0" if arm.weight == "auto" else arm.label
                epochs = np.arange(1, len(points) + 1)
                style = "--" if arm.weight is None else "-"
                scaled = 100 * values if key == "knn" else values
                axes.plot(epochs, scaled, style, color=color, label=name)
            axes.set(title=f"{data}: {title}" if place == 0 else title)
            if place == 2:
                axes.set_xlabel("epoch")
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=4
    )
    save(figure, picture)


if __name__ == "__main__":
    main()
