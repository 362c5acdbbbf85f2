"""Image data by name: scikit-learn's digits, torchvision's data sets, a folder."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Subset
from torchvision.transforms.v2 import functional

DATA_VARIABLE = "RKDO_DATA"
"""Environment variable that names the folder in which data sets are looked for."""


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
        test: Test images; none when a folder has no classes.
        image_size: Height and width, in pixels, of what the encoder reads.
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


def load_data(
    name: str,
    *,
    root: str | None = None,
    limit: int | None = None,
    image_size: int | None = None,
) -> ImageData:
    """Load a data set; nothing is ever downloaded.

    Args:
        name: "digits", "fashion-mnist", "cifar10", "cifar100", "stl10" or the path of
            a folder of images (`rkdo_plugin.recipes.data.folder`).
        root: Folder that holds the data sets. Without it they are looked for in the
            folder that `RKDO_DATA` names, in Debian's /usr/share/datasets and in
            ./data.
        limit: Keep the first so many training images only.
        image_size: Height and width in pixels that the encoder reads, when it is not
            the data's own: a vision transformer fixes its size.

    Raises:
        ValueError: The name is neither known nor a folder, or `limit` is not positive.
        FileNotFoundError: The files are in none of the places looked at, or the
            folder holds no images.

    Example:
        >>> data = load_data("digits", limit=1000)
        >>> len(data.train), len(data.test), data.image_size, data.num_classes
        (1000, 360, 28, 10)
    """
    from rkdo_plugin.recipes.data import folder, named

    known: dict[str, Callable[[list[Path]], ImageData]] = {
        "digits": named.digits,
        "fashion-mnist": named.fashion_mnist,
        "cifar10": named.cifar10,
        "cifar100": named.cifar100,
        "stl10": named.stl10,
    }
    if limit is not None and limit < 1:
        raise ValueError(f"expected `limit` to be at least 1 but got {limit}")
    if name in known:
        data = known[name](_places(root))
    elif Path(name).is_dir():
        data = folder.load_folder(Path(name))
    else:
        raise ValueError(
            f"no data named '{name}', and no folder there either; known: "
            + ", ".join(sorted(known))
        )
    if limit is not None and limit < len(data.train):
        data = replace(data, train=_first(data.train, limit))
    return data if image_size is None else replace(data, image_size=image_size)


def _places(root: str | None) -> list[Path]:
    """Where data sets are looked for; an explicit root is the only place."""
    if root is not None:
        return [Path(root)]
    places = [Path("/usr/share/datasets"), Path("data")]
    variable = os.environ.get(DATA_VARIABLE)
    return [Path(variable), *places] if variable else places


def _first(images: LabelledImages, count: int) -> LabelledImages:
    subset: Subset[tuple[Image.Image, int]] = Subset(images, range(count))  # type: ignore[arg-type]
    return subset


def as_arrays(
    images: LabelledImages, image_size: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images and labels of a data set as two arrays.

    Images of another size are resized to `image_size` on their shorter side and cropped
    to the centre, as an encoder reads them when no augmentation is wanted.

    Args:
        images: The data set; every image must have the same number of channels.
        image_size: Height and width in pixels.

    Returns:
        Images (N, image_size, image_size, C) uint8, C = 1 or 3, and labels (N,) int64.

    Raises:
        ValueError: The data set is empty.
    """
    if len(images) == 0:
        raise ValueError("expected at least one image but the data set is empty")
    pixels, labels = [], []
    for index in range(len(images)):
        image, label = images[index]
        if image.size != (image_size, image_size):
            image = functional.resize(image, [image_size])
            image = functional.center_crop(image, [image_size])
        pixels.append(np.atleast_3d(np.asarray(image, dtype=np.uint8)))
        labels.append(label)
    return np.stack(pixels), np.asarray(labels, dtype=np.int64)
