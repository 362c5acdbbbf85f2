"""Images held in memory as arrays: no epoch decodes them again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rkdo_plugin.export.encoder.pictures import MODES, Picture
from rkdo_plugin.recipes.data.draw import files_of
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages, as_arrays


class HeldImages:
    """Labelled images as two arrays.

    Attributes:
        pixels: (N, H, W, C) uint8.
        targets: The classes (N,), int64; -1 where there is none.
        files: The images' files; None where they have none.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        targets: NDArray[np.int64],
        files: list[Path] | None = None,
    ) -> None:
        self.pixels = pixels
        self.targets = targets
        self.files = files

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int, /) -> tuple[Picture, int]:
        image, label = self.pixels[index], int(self.targets[index])
        if image.shape[2] not in MODES:
            return image, label
        return Image.fromarray(
            image.squeeze(2) if image.shape[2] == 1 else image
        ), label

    def part(self, index: NDArray[np.int64]) -> "HeldImages":
        """The images of the given indices."""
        files = None if self.files is None else [self.files[i] for i in index]
        return HeldImages(self.pixels[index], self.targets[index], files)


def hold(data: ImageData) -> ImageData:
    """The same data, decoded once, at the size that the encoder reads."""
    if isinstance(data.train, HeldImages) and isinstance(data.test, HeldImages):
        return data
    return replace(
        data,
        train=held(data.train, data),
        test=held(data.test, data) if len(data.test) else data.test,
    )


def held(images: LabelledImages, data: ImageData) -> HeldImages:
    """Images as arrays, of the size of a data set.

    Raises:
        ValueError: There are no images.
    """
    if isinstance(images, HeldImages):
        return images
    return HeldImages(*as_arrays(images, data.image_size), files_of(images))
