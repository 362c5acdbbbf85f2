"""What a data set is to a recipe: labelled images, and what an encoder must know."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import Picture


class LabelledImages(Protocol):
    """A map-style data set of pictures with their class, -1 where there is none.

    Pictures are PIL images of mode L or RGB, or uint8 arrays (H, W, C) of another
    number of channels.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Picture, int]: ...


@dataclass(frozen=True)
class ImageData:
    """A data set, and what its encoder must know about the images.

    Attributes:
        name: The name or the folder that `load_data` was given.
        train: Training images.
        test: Test images; empty when a folder has no classes.
        image_size: Height and width, in pixels, that the encoder reads: one integer,
            or (H, W).
        channels: 1 for gray images, 3 for colour, or the bands of arrays.
        mean: Mean of each channel, of intensities in [0, 1].
        std: Standard deviation of each channel, of intensities in [0, 1].
        num_classes: Number of classes; 0 when there are no labels.
        others: Files in the folder that are not images.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    image_size: ImageSize
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int
    others: tuple[str, ...] = ()


def fitted(picture: Picture, image_size: ImageSize) -> NDArray[np.uint8]:
    """One picture as an array (H, W, C), resized and cropped as exports do it."""
    if isinstance(picture, np.ndarray):
        size, channels = picture.shape[:2], picture.shape[2]
    else:
        size, channels = (picture.height, picture.width), len(picture.getbands())
    if size == sides(image_size):
        return np.atleast_3d(np.asarray(picture, dtype=np.uint8))
    return resize(picture, image_size, channels)


def as_arrays(
    images: LabelledImages, image_size: ImageSize
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images and labels of a data set as two arrays.

    Images of another size are resized until they cover `image_size`, and the centre is
    cropped. Nothing is augmented.

    Args:
        images: The data set; every image must have the same number of channels.
        image_size: Height and width in pixels.

    Returns:
        Images (N, H, W, C) uint8 and labels (N,) int64.

    Raises:
        ValueError: The data set is empty.
    """
    if len(images) == 0:
        raise ValueError("Expected at least one image but the data set is empty")
    pixels, labels = [], []
    for index in range(len(images)):
        picture, label = images[index]
        pixels.append(fitted(picture, image_size))
        labels.append(label)
    return np.stack(pixels), np.asarray(labels, dtype=np.int64)
