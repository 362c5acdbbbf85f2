"""What the response field is worth with a ResNet-18 on CIFAR-10, on one GPU.

    python benchmarks/field_cifar.py --data FOLDER --results RESULTS.jsonl

FOLDER has train/CLASS/*.jpg and test/CLASS/*.jpg. Images are decoded once; they, their
views and the steps are on the GPU. SimCLR is trained without a field, and with fields
that start from HOG, one-hot and, with --teacher, from a network that is trained
already. `--fields oracle` has random images of the same class for neighbours, with
weight 0.5: what neighbours could bring. Every run is complete: its learning rate has
decayed to almost nothing at its own last step. A run that is in RESULTS.jsonl already
is not repeated. Prints a table in Markdown at the end.
"""

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from held import load_held
from held_run import run_arm
from numpy.typing import NDArray
from results import Row, Rows, append, read, scores_of, spread

from rkdo_plugin.recipes.data.draw import labels_of
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.field.create import ONE_HOT
from rkdo_plugin.recipes.field.features import features_by_name
from rkdo_plugin.recipes.training.settings import RunSettings

TEMPERATURE = 0.2
ORACLE = "oracle"
ORACLE_FIELD = {"field_weight": 0.5}  # auto takes few returned edges for hubs
STARTS = {"hog": "HOG", ONE_HOT: "one-hot", ORACLE: "by the labels"}
PRECISIONS = {"cuda": "bf16-mixed"}  # elsewhere 32-true
COLUMNS = "arm | epochs | seeds | kNN | linear | s / step | images / s | trust | device"


def main(arguments: list[str] | None = None) -> None:
    """Train what is not in the file yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--data", default="cifar10", help="a folder, a .npz file, or a known name")
    add("--results", type=Path, default=Path("field_cifar.jsonl"))
    add("--teacher", help="an .onnx file, a run folder, or a .npy file of features")
    add(
        "--fields", nargs="*", default=["hog", ONE_HOT], choices=STARTS, metavar="FIELD"
    )
    add("--limit", type=int, help="number of training images, evenly from all classes")
    add("--device", default="cuda", help="cuda, cuda:1, cpu")
    add("--precision", help="Lightning's; bf16-mixed on a GPU, 32-true elsewhere")
    add("--encoder", default="resnet18-small")
    add("--batch-size", type=int, default=512)
    add("--epochs", type=int, nargs="+", default=[100, 200])
    add("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args(arguments)
    if options.precision is None:
        kind = options.device.partition(":")[0]
        options.precision = PRECISIONS.get(kind, "32-true")
    data = load_held(options.data, limit=options.limit)
    conditions = {
        "data": Path(data.name).name,
        "train": len(data.train),
        "test": len(data.test),
        "encoder": options.encoder,
        "batch_size": options.batch_size,
        "precision": options.precision,
    }
    check_conditions(read(options.results), conditions, options.results)
    run_missing(options, data, conditions)
    print(table(read(options.results)))


def check_conditions(rows: Rows, conditions: Row, results: Path) -> None:
    """Refuse a file of runs that no table should show beside these.

    Raises:
        ValueError: Something differs.
    """
    for row in rows.values():
        held = {name: row.get(name) for name in conditions}
        if held != conditions:
            raise ValueError(
                f"Expected {results} to hold runs of {conditions} but got {held}: name "
                "another file"
            )


def arms(fields: list[str], teacher: str | None) -> dict[str, str | None]:
    """The start of each arm's field by the arm's name."""
    starts: dict[str, str | None] = {"SimCLR": None}
    starts |= {f"SimCLR, field {STARTS[field]}": field for field in fields}
    if teacher is not None:
        starts[f"SimCLR, field {Path(teacher).name}"] = teacher
    return starts


def features_of(start: str, data: ImageData) -> NDArray[np.float32]:
    """Features (N, F) of the training images."""
    if start != ORACLE:
        return features_by_name(start, data)
    classes = np.eye(data.num_classes)[labels_of(data.train)]
    noise = np.random.default_rng(0).standard_normal((len(classes), 32))
    # Similarities within a class differ by the noise, and stay far above the others'.
    return np.hstack([classes, 0.05 * noise]).astype(np.float32)


def run_missing(
    options: argparse.Namespace, data: ImageData, conditions: dict[str, Any]
) -> None:
    """Train and evaluate what is not in the file yet, seed by seed."""
    features: dict[str, NDArray[np.float32]] = {}
    for seed in options.seeds:
        for epochs in options.epochs:
            for name, start in arms(options.fields, options.teacher).items():
                if (name, epochs, seed) in read(options.results):
                    continue
                if start is not None and start not in (ONE_HOT, *features):
                    features[start] = features_of(start, data)
                settings = RunSettings(
                    recipe="simclr",
                    loss="icon",
                    loss_options={"temperature": TEMPERATURE},
                    encoder=options.encoder,
                    field=start,
                    field_options=ORACLE_FIELD if start == ORACLE else None,
                    epochs=epochs,
                    batch_size=options.batch_size,
                    precision=options.precision,
                    seed=seed,
                )
                given = None if start is None else features.get(start)
                scores = run_arm(settings, data, features=given, device=options.device)
                row = {"name": name, "epochs": epochs, "seed": seed, **conditions}
                append(options.results, row | scores)


def table(rows: Rows) -> str:
    """Means over the seeds, as Markdown."""
    first = next(iter(rows.values()))
    lines = [
        f"{first['data']}: {first['train']:,} training images, {first['encoder']}, "
        f"batch {first['batch_size']}, {first['precision']}. Accuracy in % on "
        f"{first['test']:,} test images, mean ± standard deviation over seeds. A step "
        "makes two views of each image.",
        "",
        f"| {COLUMNS} |",
        "|---" * len(COLUMNS.split("|")) + "|",
    ]
    for name, epochs in dict.fromkeys((name, epochs) for name, epochs, _ in rows):
        of = {key: scores_of(rows, name, epochs, key) for key in first}
        trust = scores_of(rows, name, epochs, "trust").values()
        cells = (
            name,
            str(epochs),
            str(len(of["knn"])),
            spread(of["knn"]),
            spread(of["linear"]),
            f"{mean(of['step'].values()):.4f}",
            f"{mean(of['rate'].values()):,.0f}",
            f"{mean(trust):.3f}" if trust else "",
            ", ".join(sorted({str(device) for device in of["device"].values()})),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
