"""Whether `field_weight="auto"` finds the weight that serves best.

    python benchmarks/field_trust.py run RESULTS.jsonl --cifar10 FOLDER
    python benchmarks/field_trust.py report RESULTS.jsonl
    python benchmarks/field_trust.py pairs RESULTS.jsonl --seeds 0:24

On digits, and on 10,000 images of Fashion-MNIST and of CIFAR-10 drawn evenly from all
classes: neighbours by pixels, by HOG, by random features, and the one-hot start, with
SimCLR and with BYOL. FOLDER holds CIFAR-10 as train/CLASS/*.jpg and test/CLASS/*.jpg;
without it that part is left out. "cifar10-short" is the same at temperature 0.1 and 10
epochs. Runs that are in RESULTS.jsonl are not repeated; `--seeds 3:6` are three more
seeds, and `pairs` compares seed by seed where many were run. A run takes 10 to 120
seconds on one core; `--part 0/2` and `--part 1/2` share
them between two processes.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from held import load_held
from held_run import fit_arm
from results import Rows, append, difference, read, scores_of, spread

from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.field.features import features_by_name
from rkdo_plugin.recipes.training.settings import RunSettings

SEEDS = "0:3"
STARTS = ("hog", "pixels", "random", "one-hot")
WEIGHTS = (0.25, 0.5, 0.75, 1.0)
RECIPES = ("simclr", "byol")
SHORT = "cifar10-short"
EPOCHS = {"fashion-mnist": 10, "cifar10": 15, "digits": 15, SHORT: 10}
TEMPERATURES = {"fashion-mnist": 0.1, "cifar10": 0.2, "digits": 0.2, SHORT: 0.1}
IMAGES = 10_000
AUTO = "auto"
LEAST = 6  # seeds of a comparison by pairs


@dataclass(frozen=True)
class Arm:
    """One row of the table, but for its seed.

    Attributes:
        data: Name of the data.
        recipe: simclr or byol.
        start: Of the field; None without a field.
        weight: The field's weight, or "auto".
    """

    data: str
    recipe: str
    start: str | None = None
    weight: float | str = 0.0

    @property
    def name(self) -> str:
        """In the file of results."""
        field = [] if self.start is None else [self.start, str(self.weight)]
        return " ".join([self.data, self.recipe, *field])

    @property
    def epochs(self) -> int:
        """The length of its runs."""
        return EPOCHS[self.data]

    def settings(self, seed: int) -> RunSettings:
        """The settings of a run."""
        criterion = {
            "loss": "icon",
            "loss_options": {"temperature": TEMPERATURES[self.data]},
        }
        return RunSettings(
            recipe=self.recipe,
            **(criterion if self.recipe == "simclr" else {}),
            encoder="small-convnet",
            data=self.data.removesuffix("-short"),
            field=self.start,
            field_options=None if self.start is None else {"field_weight": self.weight},
            epochs=self.epochs,
            augment="batches",
            seed=seed,
        )


def all_arms(names: list[str]) -> Iterator[Arm]:
    """Every arm, those that matter most first."""
    for name in names:
        for recipe in RECIPES:
            yield Arm(name, recipe)
            yield from (Arm(name, recipe, start, AUTO) for start in STARTS)
    for recipe in RECIPES:
        for name in names:
            for start in STARTS:
                for weight in WEIGHTS:
                    yield Arm(name, recipe, start, weight)


def main() -> None:
    """Run, or report what was run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("--cifar10", metavar="FOLDER")
    run.add_argument("--part", default="0/1", metavar="I/N")
    for command in (run, *map(commands.add_parser, ("report", "pairs"))):
        command.add_argument("results", type=Path)
        command.add_argument("--seeds", default=SEEDS, metavar="FROM:TO")
    options = parser.parse_args()
    seeds = range(*map(int, options.seeds.split(":")))
    if options.command == "run":
        part, parts = map(int, options.part.split("/"))
        run_part(options.results, options.cifar10, seeds, part, parts)
    else:
        rows = read(options.results)
        rows = {key: row for key, row in rows.items() if key[2] in seeds}
        print({"report": report, "pairs": pairs}[options.command](rows))


def run_part(
    results: Path, cifar10: str | None, seeds: range, part: int, parts: int
) -> None:
    """Train and evaluate every `parts`-th run that is not in the file yet."""
    torch.set_num_threads(1)
    data = {
        "digits": load_held("digits"),
        "fashion-mnist": load_held("fashion-mnist", limit=IMAGES),
    }
    if cifar10 is not None:
        data["cifar10"] = data[SHORT] = load_held(cifar10, limit=IMAGES)
    runs = [(arm, seed) for arm in all_arms([*data]) for seed in seeds]
    features: dict[tuple[str, str], np.ndarray] = {}
    for arm, seed in runs[part::parts]:
        if (arm.name, arm.epochs, seed) in read(results):
            continue
        given = None
        if arm.start not in (None, "one-hot"):
            key = arm.data, arm.start
            if key not in features:
                features[key] = features_of(arm.start, data[arm.data])
            given = features[key]
        run = fit_arm(arm.settings(seed), data[arm.data], features=given)
        row = {"name": arm.name, "epochs": arm.epochs, "seed": seed, **run.scores()}
        append(results, row)


def features_of(start: str, data: ImageData) -> np.ndarray:
    """Features (N, F) of the training images."""
    if start == "random":
        random = np.random.default_rng(0)
        return random.standard_normal((len(data.train), 64)).astype(np.float32)
    return features_by_name(start, data)


def report(rows: Rows) -> str:
    """A Markdown table of what is there: kNN in %, mean and deviation over seeds."""
    lines = [
        "| data, recipe | start | no field | "
        + " | ".join(map(str, WEIGHTS))
        + " | auto | trust | auto - none | auto - best |",
        "|---" * (7 + len(WEIGHTS)) + "|",
    ]
    for data, epochs in EPOCHS.items():
        for recipe in RECIPES:
            none = scores_of(rows, Arm(data, recipe).name, epochs, "knn")
            for start in STARTS:
                fixed = {
                    weight: scores_of(
                        rows, Arm(data, recipe, start, weight).name, epochs, "knn"
                    )
                    for weight in WEIGHTS
                }
                name = Arm(data, recipe, start, AUTO).name
                auto = scores_of(rows, name, epochs, "knn")
                trust = scores_of(rows, name, epochs, "trust")
                if not none or not auto:
                    continue
                means = [fmean(s.values()) for s in (none, *fixed.values()) if s]
                lines.append(
                    f"| {data}, {recipe} | {start} | {spread(none)} | "
                    + " | ".join(spread(scores) for scores in fixed.values())
                    + f" | {spread(auto)} | {fmean(trust.values()):.2f} "
                    f"| {100 * (fmean(auto.values()) - means[0]):+.2f} "
                    f"| {100 * (fmean(auto.values()) - max(means)):+.2f} |"
                )
    return "\n".join(lines)


def pairs(rows: Rows) -> str:
    """`auto` less every other weight, by seed, of the rows with at least six seeds."""
    lines = [
        "| data, recipe, start | weight | seeds | kNN | interval |",
        "|---" * 5 + "|",
    ]
    for data, epochs in EPOCHS.items():
        for recipe, start in product(RECIPES, STARTS):
            name = Arm(data, recipe, start, AUTO).name
            auto = scores_of(rows, name, epochs, "knn")
            arms = [Arm(data, recipe)]
            arms += [Arm(data, recipe, start, weight) for weight in WEIGHTS]
            for arm in arms:
                other = scores_of(rows, arm.name, epochs, "knn")
                seeds = len(auto.keys() & other.keys())
                if seeds >= LEAST:
                    found = difference(auto, other)
                    what = f"{data}, {recipe}, {start} | {arm.weight}"
                    lines.append(f"| {what} | {seeds} | {found} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
