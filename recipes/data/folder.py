"""A folder of images as data: classes are its subfolders, if it has any."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torchvision
from lightly.transforms.utils import IMAGENET_NORMALIZE
from torch.utils.data import Subset

from rkdo_plugin.export.encoder.pictures import (
    READ_ERRORS,
    Picture,
    is_picture,
    open_picture,
    picture_shape,
)
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages

MAX_IMAGE_SIZE = 224  # what ImageNet encoders are trained at
TEST_EVERY = 5  # without a test folder, every fifth image of a class is for testing
MEASURED = 256  # images that show the mean and standard deviation of other channels


class UnlabelledImages:
    """Images without a class, read from their files when asked for."""

    def __init__(self, files: list[Path], channels: int) -> None:
        self.files = files
        self.channels = channels
        self.targets = [-1] * len(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> tuple[Picture, int]:
        return _load(self.files[index], self.channels), -1


def load_folder(folder: Path) -> ImageData:
    """Load a folder of images: all that Pillow opens, and arrays of other channels.

    Three layouts are understood: `train/CLASS/*.png` with `test/CLASS/*.png`;
    `CLASS/*.png`, of which every fifth image is for testing; and `*.png`, which has no
    labels: enough to train on, and for the measures that need none.

    Pictures are read in colour. If the first file is a .npy array (H, W, C) or a TIFF
    of C bands, all have to be, and the mean and standard deviation are measured.

    Args:
        folder: An existing folder.

    Raises:
        FileNotFoundError: The folder, or one of its class folders, holds no images.
        OSError: One of the files that show the size is damaged.
        ValueError: Training and test folder have different classes.
    """
    train: LabelledImages
    test: LabelledImages
    classes: list[str] = []
    others: list[str] = []
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        parts = [_classes(folder / part, others) for part in ("train", "test")]
        (train, files, classes), (test, _, test_classes) = parts
        if classes != test_classes:
            raise ValueError(
                f"Expected the same classes in {folder}/train and {folder}/test but "
                f"got {classes} and {test_classes}"
            )
    elif any(path.is_dir() for path in folder.iterdir()):
        everything, files, classes = _classes(folder, others)
        train, test = _split(everything)
    else:
        files = _images_in(folder, others)
        channels = _shape(files[0])[2]
        train, test = UnlabelledImages(files, channels), UnlabelledImages([], channels)
    channels = _shape(files[0])[2]
    mean, std = (IMAGENET_NORMALIZE[name] for name in ("mean", "std"))
    if channels != 3:
        mean, std = _measured(train)
    return ImageData(
        name=str(folder),
        train=train,
        test=test,
        image_size=_image_size(files),
        channels=channels,
        mean=tuple(mean),
        std=tuple(std),
        num_classes=len(classes),
        others=tuple(others),
    )


def _load(file: str | Path, channels: int) -> Picture:
    with _named(file):
        return open_picture(Path(file), channels)


def _shape(file: Path) -> tuple[int, int, int]:
    with _named(file), file.open("rb") as opened:
        return picture_shape(opened)


@contextmanager
def _named(file: str | Path) -> Iterator[None]:
    """Name the file in errors: PIL does not always."""
    try:
        yield
    except READ_ERRORS as error:
        raise OSError(f"Expected an image in {file} but got: {error}") from error


def _classes(
    folder: Path, others: list[str]
) -> tuple[torchvision.datasets.ImageFolder, list[Path], list[str]]:
    """The images of a folder of classes, their files, and the names of the classes."""

    def is_image(file: str) -> bool:
        found = is_picture(file)
        if not found:
            others.append(file)
        return found

    images = torchvision.datasets.ImageFolder(str(folder), is_valid_file=is_image)
    files = [Path(file) for file, _ in images.samples]
    images.loader = partial(_load, channels=_shape(files[0])[2])
    return images, files, images.classes


def _measured(images: LabelledImages) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of intensities in [0, 1]."""
    some = draw(images, MEASURED, seed=0)
    pictures = [np.asarray(some[index][0]) for index in range(len(some))]
    channels = pictures[0].shape[2] if pictures[0].ndim == 3 else 1
    pixels = np.concatenate([each.reshape(-1, channels) for each in pictures])
    # A channel without any contrast has nothing to be scaled by.
    std = np.maximum(pixels.std(axis=0), 1)
    return (pixels.mean(axis=0) / 255).tolist(), (std / 255).tolist()


def _split(
    images: torchvision.datasets.ImageFolder,
) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images; the same files always give the same split."""
    seen = dict.fromkeys(range(len(images.classes)), 0)
    parts: tuple[list[int], list[int]] = ([], [])
    for index, label in enumerate(images.targets):
        seen[label] += 1
        parts[seen[label] % TEST_EVERY == 0].append(index)
    train, test = (Subset(images, part) for part in parts)
    return train, test


def _images_in(folder: Path, others: list[str]) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    images = [path for path in files if is_picture(path)]
    others += [str(path) for path in sorted(set(files) - set(images))]
    if not images:
        raise FileNotFoundError(
            f"Expected images in {folder} but none of its {len(files)} files is one"
        )
    return images


def _image_size(files: list[Path]) -> int:
    """The typical shorter side in pixels, read from a hundred files of all classes."""
    places = np.linspace(0, len(files) - 1, min(100, len(files))).astype(int)
    sides = [min(_shape(files[place])[:2]) for place in places]
    return min(int(median(sides)), MAX_IMAGE_SIZE)
