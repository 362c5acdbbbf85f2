"""Every recipe with its own loss, with I-Con, with RKDO, and with a response field.

    python benchmarks/recipes.py OUT.csv SEEDS [RECIPE ...]

Appends a row a run to OUT.csv and prints the table so far at the end; runs that
OUT.csv holds already are not repeated. Fashion-MNIST, 10,000 images, 10 epochs of
batches of 256, augmented on tensors; the small convnet; temperature 0.1; the field's
neighbours by HOG.
"""

import csv
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from rkdo_plugin.export import freeze
from rkdo_plugin.recipes.evaluation.accuracy import evaluate
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

TAU = {"temperature": 0.1}
ICON: dict[str, Any] = {"loss": "icon", "loss_options": TAU}
RKDO: dict[str, Any] = {"loss": "rkdo", "loss_options": TAU}
FIELD: dict[str, Any] = {"field": "hog", "field_options": {"field_weight": 1.0}}

# In the order of their interest: an interrupted benchmark has the first ones.
RECIPES = (
    "simclr",
    "byol",
    "moco",
    "dino",
    "mean-teacher",
    "temporal-ensembling",
    "simsiam",
    "nnclr",
    "vicreg",
    "barlowtwins",
    "supcon",
)
TUNED = {"simclr": TAU, "nnclr": TAU}  # own losses that have a temperature of 0.5
SHARES = {"1%": 0.01, "10%": 0.1}
COLUMNS = ("recipe", "variant", "seed", "knn", "linear", "accuracy", "seconds")


def variants(recipe: str) -> dict[str, dict[str, Any]]:
    """Arguments of `train` by the name of the variant."""
    own = {"loss_options": TUNED[recipe]} if recipe in TUNED else {}
    if recipe == "dino":  # whose own loss is I-Con over prototypes
        return {"own": {}, "rkdo": {"loss": "rkdo-dino"}, "own+field": FIELD}
    plain = {"own": own, "icon": ICON, "rkdo": RKDO, "own+field": own | FIELD}
    if recipe not in ("mean-teacher", "temporal-ensembling"):
        return plain
    found = {}
    for name, share in SHARES.items():
        for variant, options in plain.items():
            chosen: dict[str, Any] = {"labelled": share}
            if variant in ("icon", "rkdo"):
                chosen["consistency"] = 0.1  # their values are some units, not 0.01
            found[f"{variant} {name}"] = options | {"recipe_options": chosen}
        baseline = {"labelled": share, "consistency": 0.0}
        found[f"supervised {name}"] = {"recipe_options": baseline}
    return found


def run(recipe: str, options: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train and score once."""
    folder = Path(tempfile.mkdtemp())
    start = time.perf_counter()
    settings = RunSettings(
        recipe=recipe,
        data="fashion-mnist",
        limit=10_000,
        augment="batches",
        seed=seed,
        **options,
    )
    done = train(settings, folder / "run", Execution(workers=0, progress=False))
    seconds = (time.perf_counter() - start) / 10
    scores = evaluate(freeze(done.checkpoint).embed, done.data)
    accuracy = ""
    if hasattr(done.recipe, "classifiers"):
        accuracy = done.recipe.report(done.data, folder).split()[2]
    shutil.rmtree(folder)
    return {**scores, "accuracy": accuracy, "seconds": seconds}


def main(path: Path, seeds: int, recipes: Sequence[str]) -> None:
    """Run what is missing, then print the table."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if path.exists():
        with path.open() as file:
            rows = list(csv.DictReader(file))
    done = {(row["recipe"], row["variant"], int(row["seed"])) for row in rows}
    for seed in range(seeds):
        for recipe in recipes:
            for variant, options in variants(recipe).items():
                if (recipe, variant, seed) in done:
                    continue
                row = {"recipe": recipe, "variant": variant, "seed": seed}
                row |= run(recipe, options, seed)
                rows.append(row)
                with path.open("w", newline="") as file:
                    writer = csv.DictWriter(file, fieldnames=COLUMNS)
                    writer.writeheader()
                    writer.writerows(rows)
    print(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Means and standard deviations over the seeds."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["recipe"], row["variant"]].append(row)
    lines = [
        "| recipe | variant | kNN | linear | accuracy | s / epoch |",
        "|" + "-|" * 6,
    ]
    for (recipe, variant), group in groups.items():
        cells = [_mean(group, name) for name in ("knn", "linear", "accuracy")]
        seconds = statistics.median(float(row["seconds"]) for row in group)
        lines.append(f"| {recipe} | {variant} | {' | '.join(cells)} | {seconds:.1f} |")
    return "\n".join(lines)


def _mean(group: list[dict[str, Any]], name: str) -> str:
    values = [float(row[name]) for row in group if row[name] != ""]
    if not values:
        return ""
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.4f} ± {spread:.4f}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or RECIPES)
