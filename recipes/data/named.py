"""The data sets that `load_data` knows by name; files are read, never downloaded."""

import gzip
import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rkdo_plugin.recipes.data.images import ImageData

DATA_VARIABLE = "RKDO_DATA"
"""Environment variable that names the folder in which data sets are looked for."""


class GrayImages:
    """Gray images (N, H, W) uint8 in memory, with their classes (N,)."""

    def __init__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.integer[Any]]
    ) -> None:
        self.pixels = pixels
        self.labels = labels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index]), int(self.labels[index])


def digits(places: list[Path]) -> ImageData:
    """scikit-learn's 1797 handwritten digits, 8 x 8 enlarged to 28 x 28 pixels.

    A fifth of every class is for testing; the split is always the same.
    """
    del places  # the images come with scikit-learn
    small = load_digits()
    # 17 gray levels; 28 pixels are what the small encoders are made for.
    images = [
        Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).resize(
            (28, 28), Image.Resampling.BICUBIC
        )
        for image in small.images
    ]
    pixels = np.stack([np.asarray(image) for image in images])
    train, test, train_labels, test_labels = train_test_split(
        pixels, small.target, test_size=0.2, stratify=small.target, random_state=0
    )
    return ImageData(
        name="digits",
        train=GrayImages(train, train_labels),
        test=GrayImages(test, test_labels),
        image_size=28,
        channels=1,
        mean=(0.309,),
        std=(0.349,),
        num_classes=10,
    )


def fashion_mnist(places: list[Path]) -> ImageData:
    """Fashion-MNIST: 60,000 and 10,000 gray images of 28 x 28 pixels.

    Reads Debian's package and a torchvision root alike: both hold the original files.
    """
    folders = [
        place / inside
        for place in places
        for inside in ("fashion-mnist", "FashionMNIST/raw", "")
    ]
    for folder in folders:
        if _idx_file(folder / "train-images-idx3-ubyte") is not None:
            break
    else:
        raise _not_found(
            "fashion-mnist",
            "train-images-idx3-ubyte[.gz]",
            folders,
            "apt-get install dataset-fashion-mnist",
        )
    train, test = (
        GrayImages(
            _read_idx(folder / f"{part}-images-idx3-ubyte"),
            _read_idx(folder / f"{part}-labels-idx1-ubyte"),
        )
        for part in ("train", "t10k")
    )
    return ImageData(
        name="fashion-mnist",
        train=train,
        test=test,
        image_size=28,
        channels=1,
        mean=(0.2860,),
        std=(0.3530,),
        num_classes=10,
    )


def _idx_file(path: Path) -> Path | None:
    """The file itself or its gzipped form, whichever exists."""
    packed = path.with_name(path.name + ".gz")
    return next((file for file in (path, packed) if file.is_file()), None)


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """An array from an idx file of unsigned bytes (http://yann.lecun.com/exdb/mnist)."""
    file = _idx_file(path)
    if file is None:
        raise FileNotFoundError(f"Expected {path} or {path}.gz but found neither")
    content = file.read_bytes()
    expected = f"Expected {file} to be an idx file of unsigned bytes"
    if file.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{expected} but got: {error}") from error
    # Header: two zero bytes, the type (8 is unsigned byte), the number of dimensions,
    # then each dimension as a big-endian 32-bit integer.
    dimensions = content[3] if content[:3] == b"\0\0\x08" and content[3:] else 0
    start = 4 + 4 * dimensions
    whole = dimensions > 0 and len(content) > start
    shape = np.frombuffer(content[4:start], dtype=">u4").tolist() if whole else []
    values = np.frombuffer(content[start:], dtype=np.uint8)
    if not whole or values.size != math.prod(shape):
        raise ValueError(f"{expected} but it is not, or it is cut short")
    return values.reshape(shape)


@dataclass(frozen=True)
class _Published:
    """A data set of torchvision, and what its images are like.

    Attributes:
        dataset: torchvision's class.
        part: The argument of the class that chooses training or test images.
        values: Its value for either.
        image_size: Height and width in pixels.
        mean: Mean of each channel, of intensities in [0, 1].
        std: Standard deviation of each channel, of intensities in [0, 1].
        num_classes: Number of classes.
    """

    dataset: Any
    part: str
    values: tuple[Any, Any]
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    num_classes: int


# 50,000 and 10,000 colour images
CIFAR10 = _Published(
    torchvision.datasets.CIFAR10,
    part="train",
    values=(True, False),
    image_size=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    num_classes=10,
)
PUBLISHED = {
    "cifar10": CIFAR10,
    "cifar100": replace(
        CIFAR10,
        dataset=torchvision.datasets.CIFAR100,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        num_classes=100,
    ),
    # the 5,000 and 8,000 labelled colour images
    "stl10": _Published(
        torchvision.datasets.STL10,
        part="split",
        values=("train", "test"),
        image_size=96,
        mean=(0.4467, 0.4398, 0.4066),
        std=(0.2603, 0.2566, 0.2713),
        num_classes=10,
    ),
}


def published(name: str, places: list[Path]) -> ImageData:
    """A data set of torchvision, from the first place that has it.

    Args:
        name: Key of `PUBLISHED`.
        places: Folders to look in.
    """
    known = PUBLISHED[name]
    for place in places:
        try:
            train, test = (
                known.dataset(
                    place, target_transform=int, download=False, **{known.part: value}
                )
                for value in known.values
            )
        except RuntimeError:  # "Dataset not found or corrupted."
            continue
        return ImageData(
            name,
            train,
            test,
            image_size=known.image_size,
            channels=3,
            mean=known.mean,
            std=known.std,
            num_classes=known.num_classes,
        )
    dataset = known.dataset
    raise _not_found(
        dataset.__name__,
        dataset.base_folder,
        places,
        f"torchvision.datasets.{dataset.__name__}(FOLDER, download=True)",
    )


def _not_found(
    name: str, files: str, places: list[Path], remedy: str
) -> FileNotFoundError:
    looked = ", ".join(str(place) for place in places)
    return FileNotFoundError(
        f"{name}: no intact {files} in {looked}. Get it with `{remedy}`, and name its "
        f"folder with `root` or the environment variable {DATA_VARIABLE}"
    )
