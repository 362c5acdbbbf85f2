"""A folder of images as data: classes are its subfolders, if it has any."""

from pathlib import Path
from statistics import median

import torchvision
from lightly.transforms.utils import IMAGENET_NORMALIZE
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets.folder import IMG_EXTENSIONS, default_loader

from rkdo_plugin.recipes.data.images import ImageData, LabelledImages

MAX_IMAGE_SIZE = 224  # what ImageNet encoders are trained at
TEST_EVERY = 5  # without a test folder, every fifth image of a class is for testing


class UnlabelledImages:
    """Images without a class, read from their files when asked for."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]:
        return _load(self.files[index]), -1


def load_folder(folder: Path) -> ImageData:
    """Load a folder of images, read as colour images.

    Three layouts are understood: `train/CLASS/*.png` with `test/CLASS/*.png`;
    `CLASS/*.png`, of which every fifth image is for testing; and `*.png`, which has no
    labels: enough to train on, not to evaluate.

    Args:
        folder: An existing folder.

    Raises:
        FileNotFoundError: The folder, or one of its class folders, holds no images.
        ValueError: Training and test folder have different classes.
    """
    train: LabelledImages
    test: LabelledImages
    classes: list[str] = []
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        train_folder, test_folder = (
            torchvision.datasets.ImageFolder(str(folder / part), loader=_load)
            for part in ("train", "test")
        )
        if train_folder.classes != test_folder.classes:
            raise ValueError(
                f"Expected the same classes in {folder}/train and {folder}/test but "
                f"got {train_folder.classes} and {test_folder.classes}"
            )
        train, test = train_folder, test_folder
        classes, files = (
            train_folder.classes,
            [path for path, _ in train_folder.samples],
        )
    elif any(path.is_dir() for path in folder.iterdir()):
        everything = torchvision.datasets.ImageFolder(str(folder), loader=_load)
        train, test = _split(everything)
        classes, files = everything.classes, [path for path, _ in everything.samples]
    else:
        unlabelled = _images_in(folder)
        train, test = UnlabelledImages(unlabelled), UnlabelledImages([])
        files = [str(path) for path in unlabelled]
    return ImageData(
        name=str(folder),
        train=train,
        test=test,
        image_size=_image_size(files),
        channels=3,
        mean=tuple(IMAGENET_NORMALIZE["mean"]),
        std=tuple(IMAGENET_NORMALIZE["std"]),
        num_classes=len(classes),
    )


def _load(file: str | Path) -> Image.Image:
    try:
        image: Image.Image = default_loader(file)
    except OSError as error:  # PIL does not always name the file
        raise OSError(f"Expected an image in {file} but {error}") from error
    return image


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


def _images_in(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    images = [path for path in files if path.suffix.lower() in IMG_EXTENSIONS]
    if not images:
        raise FileNotFoundError(
            f"Expected images in {folder} but none of its {len(files)} files ends with "
            + ", ".join(IMG_EXTENSIONS)
        )
    return images


def _image_size(files: list[str]) -> int:
    """The typical shorter side in pixels, read from the first hundred files."""
    sides = []
    for file in files[:100]:
        with Image.open(file) as image:
            sides.append(min(image.size))
    return min(int(median(sides)), MAX_IMAGE_SIZE)
