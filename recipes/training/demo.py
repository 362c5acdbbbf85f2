"""Train, compare, export and embed on scikit-learn's digits: what `rkdo demo` does."""

import csv
import time
from pathlib import Path

import numpy as np

from rkdo_plugin.export import EmbeddingSession, Encoder, export_onnx, freeze, verify
from rkdo_plugin.recipes.base.settings import RecipeSettings
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import (
    Embed,
    evaluate,
    knn_accuracy,
    raw_pixels,
)
from rkdo_plugin.recipes.pictures.demo import draw_demo
from rkdo_plugin.recipes.simclr import SimCLR
from rkdo_plugin.recipes.training.loader import seed_generators
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import Run, train

BATCH_SIZE = 128  # 11 steps an epoch

# name in the table -> registered loss and its options
ARMS = {
    "SimCLR, NT-Xent": ("ntxent", {"temperature": 0.2}),
    "SimCLR, I-Con": ("icon", {"temperature": 0.2, "debias": 0.2}),
    "SimCLR, RKDO": ("rkdo", {"temperature": 0.2}),
}


def run_demo(out: Path, epochs: int, seed: int) -> None:
    """Train an encoder with each loss, export the best one, and embed with it.

    Args:
        out: New folder for the runs, encoder.onnx and demo.png.
        epochs: Number of passes over the training images, for each loss.
        seed: Seed of the weights, the order and the augmentation.

    Raises:
        FileExistsError: There is a run in `out` already.
        KeyboardInterrupt: Ctrl-C while it trained.
        ParityError: The exported file did not compute what the encoder computes.
        RuntimeError: Nearest neighbours score differently on the exported embeddings.
    """
    data = load_data("digits")
    print(
        f"digits: {len(data.train):,} training images, {len(data.test)} test images, "
        f"{epochs} epochs, seed {seed}\n"
    )
    runs, seconds = {}, {}
    for name, (loss, options) in ARMS.items():
        print(name)
        started = time.perf_counter()
        settings = RunSettings(
            loss=loss,
            loss_options=options,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            augment="batches",
            seed=seed,
        )
        try:
            runs[name] = train(settings, out / loss, Execution(workers=1))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"while it trained {loss}; a demo does not go on: begin a new one with "
                "another `out`, or without it"
            ) from None
        seconds[name] = time.perf_counter() - started
    encoders = {name: freeze(run.checkpoint) for name, run in runs.items()}

    print(f"\n{'test accuracy':20}{'kNN':>8}{'linear':>8}{'seconds':>9}")
    _row("raw pixels", raw_pixels, data)
    _row("untrained encoder", _untrained(data, seed).embed, data)
    scores = {
        name: _row(name, encoder.embed, data, seconds[name])
        for name, encoder in encoders.items()
    }
    print("one seed: differences of a point or less mean nothing\n")

    best = max(scores, key=lambda name: scores[name]["knn"])
    _export(encoders[best], out / "encoder.onnx", data, best)
    figure = out / "demo.png"
    test, labels = as_arrays(data.test, data.image_size)
    embeddings = EmbeddingSession(out / "encoder.onnx").embed(test)
    losses = {name: _losses(run) for name, run in runs.items()}
    draw_demo(figure, losses, embeddings, test, labels, best)
    print(f"picture: {figure}")


def _row(
    name: str, embed: Embed, data: ImageData, seconds: float | None = None
) -> dict[str, float]:
    scores = evaluate(embed, data)
    trained = "" if seconds is None else f"{seconds:9.1f}"
    print(f"{name:20}{scores['knn']:8.4f}{scores['linear']:8.4f}{trained}")
    return scores


def _untrained(data: ImageData, seed: int) -> Encoder:
    """The encoder as every arm starts from it."""
    seed_generators(seed)
    settings = RecipeSettings(in_channels=data.channels, image_size=data.image_size)
    return SimCLR(settings).frozen(data)


def _export(encoder: Encoder, path: Path, data: ImageData, name: str) -> None:
    """Export, verify the file again, and compare its kNN accuracy with PyTorch's."""
    train_images, train_labels = as_arrays(data.train, data.image_size)
    test_images, test_labels = as_arrays(data.test, data.image_size)
    export_onnx(encoder, path, images=test_images)
    print(f"exported: {path} ({name})")
    print(verify(path, encoder, test_images))
    session = EmbeddingSession(path)
    accuracy = {
        runtime: knn_accuracy(
            embed(train_images), train_labels, embed(test_images), test_labels
        )
        for runtime, embed in (
            ("PyTorch", encoder.embed),
            ("onnxruntime", session.embed),
        )
    }
    if len(set(accuracy.values())) > 1:
        raise RuntimeError(f"Expected one kNN accuracy but got {accuracy}")
    print(
        f"kNN of the {len(test_images)} test images through onnxruntime "
        f"({session.provider}): {accuracy['onnxruntime']:.4f}, as through PyTorch"
    )


def _losses(run: Run) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Logged steps and training losses, (L, 2)."""
    with (run.folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train_loss"]]
    return np.array([(float(row["step"]), float(row["train_loss"])) for row in rows])
