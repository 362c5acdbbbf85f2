"""What a data set is to a recipe: labelled images, and what an encoder must know."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import functional


class LabelledImages(Protocol):
    """A map-style data set of PIL images with their class, -1 where there is none."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]: ...


@dataclass(frozen=True)
class ImageData:
    """A data set, and what its encoder must know about the images.

    Attributes:
        name: The name or the folder that `load_data` was given.
        train: Training images.
        test: Test images; empty when a folder has no classes.
        image_size: Height and width, in pixels, that the encoder reads.
        channels: 1 for gray images, 3 for colour.
        mean: Mean of each channel, of intensities in [0, 1].
        std: Standard deviation of each channel, of intensities in [0, 1].
        num_classes: Number of classes; 0 when there are no labels.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int


def as_arrays(
    images: LabelledImages, image_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images and labels of a data set as two arrays.

    Images of another size are resized to `image_size` on their shorter side, and the
    centre is cropped. Nothing is augmented.

    Args:
        images: The data set; every image must have the same number of channels.
        image_size: Height and width in pixels.

    Returns:
        Images (N, image_size, image_size, C) uint8, C = 1 or 3, and labels (N,) int64.

    Raises:
        ValueError: The data set is empty.
    """
    if len(images) == 0:
        raise ValueError("Expected at least one image but the data set is empty")
    pixels, labels = [], []
    for index in range(len(images)):
        image, label = images[index]
        if image.size != (image_size, image_size):
            image = functional.resize(image, [image_size])
            image = functional.center_crop(image, [image_size])
        pixels.append(np.atleast_3d(np.asarray(image, dtype=np.uint8)))
        labels.append(label)
    return np.stack(pixels), np.asarray(labels, dtype=np.int64)
