"""Train a dozen encoders for minutes, and see what `--precision int8` makes of them.

    python benchmarks/int8_encoders.py train CIFAR10_FOLDER FILES [NAME ...]
    python benchmarks/int8_encoders.py measure CIFAR10_FOLDER FILES [NAME ...]

The first trains each encoder with its classes, supervised, and keeps its float32 file
in the folder FILES. The classifiers are thrown away. The second makes an int8 file of
each, calibrated on 256 training images and judged on 500 test images. It compares that
file with the float32 file on 1000 other test images, and measures the speed of both on
one thread: medians for 8 images, in turn. What either has done already is left out.
`table` prints the results as Markdown.
"""

import json
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    CPUSettings,
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    quantize,
    verify,
)
from rkdo_plugin.export.verification.side_by_side import run as run_sides
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData, as_arrays


class Run(NamedTuple):
    """How long an encoder is trained, on what and on how many pixels."""

    data: str  # "fashion-mnist", padded by black, or "cifar10"
    image_size: int
    steps: int = 150


ENCODERS = {
    "resnet18": Run("fashion-mnist", 32, steps=300),
    "torchvision:mobilenet_v3_small": Run("cifar10", 64),
    "timm:convnext_atto": Run("cifar10", 64),
    "timm:vit_tiny_patch16_224": Run("cifar10", 64),
    "timm:mobilenetv4_conv_small": Run("cifar10", 64),
    "torchvision:shufflenet_v2_x1_0": Run("cifar10", 64),
    "torchvision:efficientnet_b0": Run("cifar10", 64),
    "resnet50": Run("cifar10", 64, steps=100),
    "torchvision:regnet_y_400mf": Run("cifar10", 64),
    "resnet18-small": Run("fashion-mnist", 32, steps=100),
    "timm:convnextv2_atto": Run("cifar10", 64),
    "torchvision:densenet121": Run("cifar10", 64, steps=100),
}
TRAINING_IMAGES, BATCH_SIZE = 12_800, 32
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.02
CALIBRATION, JUDGED, FRESH = 256, 500, 1000  # images
TIMED_IMAGES, REPETITIONS = 8, 21
RESULTS = Path(__file__).parent / "results" / "int8_encoders.jsonl"
HEADER = """\
| encoder | pixels | int8 | in float32 | multiply-adds there | worst 1 - cosine \
| mean 1 - cosine | neighbours kept | 10-NN accuracy | speed | size |
|---|---|---|---|---|---|---|---|---|---|---|"""


def file_name(name: str) -> str:
    """Name of an encoder's float32 file."""
    return f"{name.replace(':', '-')}.onnx"


def images_of(run: Run, cifar10: str) -> ImageData:
    """The data set of a run."""
    return load_data(
        cifar10 if run.data == "cifar10" else run.data, image_size=run.image_size
    )


def fitted_images(
    data: ImageData, run: Run, part: str, count: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images of a run's size, (N, H, W, C), and their classes.

    Fashion-MNIST is padded with black from 28 to 32 pixels.
    """
    drawn = draw(data.train if part == "train" else data.test, count, 0)
    if run.data == "cifar10":
        return as_arrays(drawn, run.image_size)
    images, labels = as_arrays(drawn, 28)
    margin = (run.image_size - 28) // 2
    sides = (margin, margin)
    return np.pad(images, ((0, 0), sides, sides, (0, 0))), labels


def create(name: str, run: Run, channels: int) -> nn.Module:
    """A fresh network for a run's images."""
    if "vit" in name:
        network: nn.Module = timm.create_model(
            name.removeprefix("timm:"), num_classes=0, img_size=run.image_size
        )
        return network
    return create_encoder(name, in_channels=channels)


def train(name: str, run: Run, cifar10: str) -> Encoder:
    """Train an encoder and a linear classifier, and return the encoder."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = images_of(run, cifar10)
    images, labels = fitted_images(data, run, "train", TRAINING_IMAGES)
    backbone = create(name, run, data.channels)
    encoder = Encoder(backbone, image_size=run.image_size, mean=data.mean, std=data.std)
    head = nn.Linear(encoder.dim, data.num_classes)
    network = nn.Sequential(backbone, nn.Flatten(), head).train()
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=run.steps
    )
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # less takes thousands of steps to find statistics
    generator = torch.Generator().manual_seed(0)
    pixels, classes = torch.from_numpy(images), torch.from_numpy(labels)
    mean, std = (torch.tensor(values) for values in (data.mean, data.std))
    started = time.perf_counter()
    for step in range(run.steps):
        chosen = torch.randint(len(pixels), (BATCH_SIZE,), generator=generator)
        batch = (augmented(pixels[chosen], generator) / 255 - mean) / std
        scores = network(batch.permute(0, 3, 1, 2))
        loss = functional.cross_entropy(scores, classes[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == run.steps - 1:
            seconds = time.perf_counter() - started
            print(f"{name} {step:4d} {loss.item():.3f} {seconds:.0f} s", flush=True)
    return Encoder(backbone, image_size=run.image_size, mean=data.mean, std=data.std)


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images (B, H, W, C), and shift all by up to an eighth."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    reach = images.shape[1] // 8
    down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
    return images.roll((down, right), (1, 2))


def measure(name: str, run: Run, cifar10: str, folder: Path) -> dict[str, Any]:
    """Make an int8 file, and say what came of it."""
    torch.set_num_threads(1)
    data = images_of(run, cifar10)
    calibration, _ = fitted_images(data, run, "train", CALIBRATION)
    images, labels = fitted_images(data, run, "test", JUDGED + FRESH)
    order = np.random.default_rng(0).permutation(len(images))  # drawn class by class
    judged, fresh = order[:JUDGED], order[JUDGED:]
    float32 = folder / file_name(name)
    made = float32.with_suffix(".int8.onnx")
    row: dict[str, Any] = {"encoder": name, **run._asdict()}
    started = time.process_time()
    try:
        report = quantize(
            float32, made, calibration, images=images[judged], overwrite=True
        )
    except ParityError as error:
        report = error.report
    row |= {
        "outcome": outcome(report.passed, bool(report.tried), len(report.float_layers)),
        "float_layers": report.float_layers,
        "layers": report.layers,
        "float_share": report.float_share,
        "cpu_seconds": time.process_time() - started,
        "notes": report.notes,
        "tried": [asdict(attempt) for attempt in report.tried],
    }
    if not report.passed:
        return row
    sessions = [EmbeddingSession(path, CPUSettings(1)) for path in (float32, made)]
    found = verify(made, sessions[0], images[fresh], labels[fresh])
    batches = [images[:TIMED_IMAGES]] * (REPETITIONS + 1)
    slow, fast = np.median(run_sides(batches, *sessions)[1][1:], axis=0)
    return row | {
        "fresh_failures": found.failures,
        "max_one_minus_cosine": found.max_one_minus_cosine,
        "mean_one_minus_cosine": found.mean_one_minus_cosine,
        "neighbors_kept": found.neighbors_kept,
        "knn": found.knn,
        "speed": slow / fast,
        "size": made.stat().st_size / float32.stat().st_size,
    }


def outcome(passed: bool, searched: bool, floats: int) -> str:
    """Say in a word what the export did."""
    if not passed:
        return "refused"
    if not searched:
        return "passed plain"
    return "passed, some float" if floats else "passed, other ranges"


def table_row(row: dict[str, Any]) -> str:
    """Return a result as a row of Markdown."""
    start = f"| {row['encoder']} | {row['image_size']} | {row['outcome']} "
    if row["outcome"] == "refused":
        near = min(row["tried"], key=lambda attempt: attempt["strain"])
        return (
            f"{start}| {near['layers']} of {row['layers']} | {near['share']:.1%} "
            f"| {near['max_one_minus_cosine']:.1e} "
            f"| {near['mean_one_minus_cosine']:.1e} "
            f"| {near['neighbors_kept']:.3f} | | | |"
        )
    before, after = row["knn"]
    floats = f"{len(row['float_layers'])} of {row['layers']}" if row["layers"] else "0"
    return (
        f"{start}| {floats} | {row['float_share']:.1%} "
        f"| {row['max_one_minus_cosine']:.1e} | {row['mean_one_minus_cosine']:.1e} "
        f"| {row['neighbors_kept']:.3f} | {before:.3f} to {after:.3f} "
        f"| {row['speed']:.2f} | {row['size']:.2f} |"
    )


def results() -> dict[str, dict[str, Any]]:
    """Results so far, by the encoder's name."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    return {row["encoder"]: row for row in map(json.loads, lines)}


def main(arguments: list[str]) -> None:
    """Do what is left to do for the named encoders, or for all."""
    warnings.simplefilter("ignore")
    if arguments == ["table"]:
        found = results()
        rows = [table_row(found[name]) for name in ENCODERS if name in found]
        print(HEADER, *rows, sep="\n")
        return
    action, cifar10, place, *names = arguments
    folder = Path(place)
    for name in names or ENCODERS:
        path, run = folder / file_name(name), ENCODERS[name]
        if action == "train" and not path.exists():
            encoder = train(name, run, cifar10)
            print(name, export_onnx(encoder, path), sep="\n", flush=True)
        elif action == "measure" and path.exists() and name not in results():
            row = measure(name, run, cifar10, folder)
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(table_row(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
