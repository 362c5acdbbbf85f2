"""Images of a data set for an export: to verify it with, and to calibrate it on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.export import ImageEmbedder
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.verification.side_by_side import BATCHES
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import LabelledImages
from rkdo_plugin.recipes.data.load import load_data

INTEGER_IMAGES = 500  # compared where a file computes in integers
CALIBRATION_IMAGES = 256  # more change the ranges of activations little


def parity_images(
    name: str,
    root: str | None,
    encoder: ImageEmbedder,
    seed: int = 0,
    *,
    integers: bool = False,
) -> NDArray[np.uint8]:
    """Test images of named data to verify an export with.

    Args:
        name: The data set's name, or a folder.
        root: Folder that holds the data sets.
        encoder: Says the size and the channels of the images.
        seed: Seed of the draw.
        integers: Take more images, for a file that computes in integers: its effect on
            neighbours and on the worst image shows on many images.

    Returns:
        uint8 (N, H, W, C); training images where there are no test images.
    """
    count = INTEGER_IMAGES if integers else sum(BATCHES)
    return labelled_images(name, root, encoder, count, seed)[0]


def labelled_images(
    name: str, root: str | None, encoder: ImageEmbedder, limit: int, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.integer[Any]] | None]:
    """Test images of named data, with their classes.

    Args:
        name: The data set's name, or a folder.
        root: Folder that holds the data sets.
        encoder: Says the size and the channels of the images.
        limit: The largest number of images, drawn evenly from all classes.
        seed: Seed of the draw.

    Returns:
        uint8 (N, H, W, C), and classes (N,); None where there are no classes. Training
        images where there are no test images.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"Expected `limit` to be at least 1 but got {limit}")
    data = load_data(name, root=root)
    part = data.test if len(data.test) else data.train
    images, labels = _drawn(part, limit, seed, encoder)
    return images, labels if data.num_classes > 1 else None


def calibration_images(
    name: str, root: str | None, encoder: ImageEmbedder, seed: int = 0
) -> NDArray[np.uint8]:
    """Training images of named data, to calibrate an integer file on."""
    train = load_data(name, root=root).train
    return _drawn(train, CALIBRATION_IMAGES, seed, encoder)[0]


def _drawn(
    part: LabelledImages, limit: int, seed: int, encoder: ImageEmbedder
) -> tuple[NDArray[np.uint8], NDArray[np.integer[Any]]]:
    """Images of the encoder's size and channels, as `embed_folder` makes them."""
    few = draw(part, limit, seed)
    images, labels = zip(*(few[place] for place in range(len(few))), strict=True)
    size, channels = encoder.image_size, encoder.channels
    return (
        np.stack([resize(image, size, channels) for image in images]),
        np.asarray(labels, dtype=np.int64),
    )
