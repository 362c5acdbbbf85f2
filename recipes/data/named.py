"""The data sets that `load_data` knows by name; files are read, never downloaded."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from rkdo_plugin.recipes.data.images import DATA_VARIABLE, ImageData, LabelledImages


class GrayImages:
    """Gray images (N, H, W) uint8 in memory, with their classes (N,)."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.integer]) -> None:
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
        raise FileNotFoundError(f"expected {path} or {path}.gz but found neither")
    content = file.read_bytes()
    if file.suffix == ".gz":
        content = gzip.decompress(content)
    # Header: two zero bytes, the type (8 is unsigned byte), the number of dimensions,
    # then each dimension as a big-endian 32-bit integer.
    dimensions = content[3] if content[:3] == b"\0\0\x08" else 0
    shape = np.frombuffer(content[4 : 4 + 4 * dimensions], dtype=">i4")
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
    if dimensions == 0 or values.size != shape.prod():
        raise ValueError(
            f"{file} is not an idx file of unsigned bytes, or is cut short"
        )
    return values.reshape(shape)


def cifar10(places: list[Path]) -> ImageData:
    """CIFAR-10: 50,000 and 10,000 colour images of 32 x 32 pixels."""
    return ImageData(
        "cifar10",
        *_torchvision(torchvision.datasets.CIFAR10, places, train=(True, False)),
        image_size=32,
        channels=3,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        num_classes=10,
    )


def cifar100(places: list[Path]) -> ImageData:
    """CIFAR-100: 50,000 and 10,000 colour images of 32 x 32 pixels."""
    return ImageData(
        "cifar100",
        *_torchvision(torchvision.datasets.CIFAR100, places, train=(True, False)),
        image_size=32,
        channels=3,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        num_classes=100,
    )


def stl10(places: list[Path]) -> ImageData:
    """STL-10: the 5,000 and 8,000 labelled colour images of 96 x 96 pixels."""
    return ImageData(
        "stl10",
        *_torchvision(torchvision.datasets.STL10, places, split=("train", "test")),
        image_size=96,
        channels=3,
        mean=(0.4467, 0.4398, 0.4066),
        std=(0.2603, 0.2566, 0.2713),
        num_classes=10,
    )


def _torchvision(
    dataset: Any, places: list[Path], **parts: tuple[Any, Any]
) -> tuple[LabelledImages, LabelledImages]:
    """The training and the test part of a torchvision data set, from the first place.

    `parts` is the argument that chooses the part, with its value for either.
    """
    ((argument, values),) = parts.items()
    for place in places:
        try:
            train, test = (
                dataset(
                    place, target_transform=int, download=False, **{argument: value}
                )
                for value in values
            )
        except RuntimeError:  # "Dataset not found or corrupted."
            continue
        return train, test
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
