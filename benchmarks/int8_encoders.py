"""Train a dozen encoders for minutes, and see what `--precision int8` makes of them.

    python benchmarks/int8_encoders.py train CIFAR10_FOLDER FILES [NAME ...]

trains each encoder with its classes, supervised, and keeps its float32 file in the
folder FILES. The classifiers are thrown away.
"""

import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx
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


def main(arguments: list[str]) -> None:
    """Train the named encoders, or all that have no file yet."""
    warnings.simplefilter("ignore")
    _, cifar10, folder, *names = arguments
    for name in names or ENCODERS:
        path = Path(folder, file_name(name))
        if not path.exists():
            encoder = train(name, ENCODERS[name], cifar10)
            print(name, export_onnx(encoder, path), sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
