"""What the paper fixes, and the figures that it reports."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from rkdo_plugin.plugins.create import create_loss

RKDO, ICON = "rkdo", "icon"
NAMES = {RKDO: "RKDO", ICON: "I-Con"}
OPTIONS: dict[str, dict[str, Any]] = {
    RKDO: {
        "temperature": 0.5,
        "coupling": 0.5,
        "depth": 3,
        "temperature_decay": 0.1,
    },
    ICON: {"temperature": 0.5, "debias": 0.2, "candidates": "cross"},
}
INFO_NCE = {"temperature": 0.5}
"""Of the yardstick: InfoNCE over both views, Lightly's NT-Xent."""


@dataclass(frozen=True)
class Protocol:
    """How the published runs are trained.

    Attributes:
        encoder: torchvision's ResNet-18, without pretraining.
        dim: D, the size of the embedding behind the two layers of the projection.
        batch_size: B, the images of a step.
        batches: Steps of what the paper calls an epoch.
        epochs: Where a run is evaluated. Its learning rate is constant, so that a
            longer run passes through the shorter ones.
        seeds: Of weights, batches and views.
        learning_rate: Of Adam.
        weight_decay: Of Adam.
        evaluated: Number of training images that the classifiers see, and of test
            images that they are tested on, each drawn evenly from all classes.
    """

    encoder: str = "resnet18"
    dim: int = 64
    batch_size: int = 64
    batches: int = 11
    epochs: tuple[int, ...] = (1, 2, 5, 10)
    seeds: tuple[int, ...] = (42, 123, 456, 789, 101)
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    evaluated: int = 5_000


def criterion_of(name: str) -> nn.Module:
    """A loss as the paper sets it.

    Args:
        name: "rkdo", or "icon", whose supervision is debiased.
    """
    return create_loss(name, **OPTIONS[name])


EPOCHS = (1, 2, 5, 10)
PUBLISHED_LOSS = {
    "cifar10": {
        RKDO: (1.9384, 1.7897, 1.6584, 1.6200),
        ICON: (2.6768, 2.5176, 2.4000, 2.3127),
    },
    "cifar100": {
        RKDO: (1.9245, 1.7829, 1.6567, 1.5720),
        ICON: (2.6338, 2.5089, 2.3648, 2.2857),
    },
    "stl10": {
        RKDO: (1.5422, 1.4390, 1.3331, 1.3249),
        ICON: (2.2353, 2.1297, 2.0312, 1.9777),
    },
}
"""The paper's final training losses after `EPOCHS`, means over its five seeds."""

PUBLISHED_LINEAR = {
    "cifar10": {
        RKDO: (0.2496, 0.2667, 0.3078, 0.2894),
        ICON: (0.2454, 0.2723, 0.3291, 0.3206),
    },
    "cifar100": {
        RKDO: (0.0170, 0.0255, 0.0255, 0.0227),
        ICON: (0.0213, 0.0170, 0.0227, 0.0199),
    },
    "stl10": {
        RKDO: (0.1803, 0.2225, 0.2141, 0.2113),
        ICON: (0.1831, 0.1775, 0.2197, 0.2479),
    },
}
"""The paper's linear accuracies after `EPOCHS`, on 704 test images or fewer."""
