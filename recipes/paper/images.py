"""The images of the published runs, held as arrays."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.paper.protocol import Protocol

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class PaperImages:
    """What a run trains on, and what it is evaluated on.

    Attributes:
        data: Says the size, the channels, the mean and the standard deviation.
        train: All training images (N, C, H, W) uint8.
        seen: The images (M, H, W, C) and classes (M,) that classifiers see.
        test: Those that they are tested on.
        held_out: As many test images (L, C, H, W) as an epoch has, for the losses.
    """

    data: ImageData
    train: Tensor
    seen: Part
    test: Part
    held_out: Tensor


def paper_images(data: ImageData, protocol: Protocol) -> PaperImages:
    """Draw what is evaluated.

    Args:
        data: Labelled images, held as arrays.
        protocol: How many are evaluated.

    Raises:
        ValueError: There are no classes, or too few images for an epoch.
    """
    needed = protocol.batch_size * protocol.batches
    if data.num_classes < 2 or min(len(data.train), len(data.test)) < needed:
        raise ValueError(
            f"Expected at least two classes, and {needed} images for training and for "
            f"testing each, but {data.name} has {data.num_classes} classes, "
            f"{len(data.train)} and {len(data.test)} images"
        )
    train, _ = as_arrays(data.train, data.image_size)
    seen, test = (
        as_arrays(draw(part, protocol.evaluated, seed=0), data.image_size)
        for part in (data.train, data.test)
    )
    held_out, _ = as_arrays(draw(data.test, needed, seed=1), data.image_size)
    mixed = np.random.default_rng(1).permutation(held_out)  # a folder is in classes
    return PaperImages(data, planes(train), seen, test, planes(mixed))


def planes(images: NDArray[np.uint8]) -> Tensor:
    """Images (N, H, W, C) as a tensor (N, C, H, W)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
