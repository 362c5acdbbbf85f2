"""Images held in memory, or on a GPU, as arrays: no epoch decodes them again."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.held import HeldImages, hold
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.training.loader import ShuffledBatches, seed_generators


def load_held(name: str, *, limit: int | None = None, seed: int = 0) -> ImageData:
    """Load and hold labelled images.

    Args:
        name: What `rkdo train --data` takes, or a .npz file of the arrays x and tx,
            images (N, H, W, C) uint8 for training and for testing, and y and ty, their
            classes. It may have the mean and std of each channel, of intensities in
            [0, 1]; otherwise they are those of x.
        limit: Number of training images, drawn evenly from all classes.
        seed: Seed of that draw.

    Raises:
        FileNotFoundError: There is no such data.
        ValueError: The file's arrays are not as above.
    """
    if Path(name).suffix != ".npz":
        return hold(load_data(name, limit=limit, seed=seed))
    with np.load(name) as file:
        arrays = dict(file)
    data = of_arrays(Path(name).stem, **arrays)
    if limit is None:
        return data
    return hold(replace(data, train=draw(data.train, limit, seed)))


def of_arrays(
    name: str,
    x: NDArray[np.uint8],
    y: NDArray[np.integer],
    tx: NDArray[np.uint8],
    ty: NDArray[np.integer],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> ImageData:
    """Hold images that are arrays already; the arguments are those of `load_held`."""
    for images, labels in ((x, y), (tx, ty)):
        square = images.ndim == 4 and images.shape[1:] == x.shape[1:]
        if images.dtype != np.uint8 or not square or labels.shape != images.shape[:1]:
            raise ValueError(
                f"Expected {name} to have images (N, H, W, C) uint8 of one size with "
                f"labels (N,) but got {images.shape} {images.dtype} with {labels.shape}"
            )
    train, test = (
        HeldImages(images, labels.astype(np.int64))
        for images, labels in ((x, y), (tx, ty))
    )
    flat = x.reshape(-1, x.shape[3])
    mean = flat.mean(axis=0) / 255 if mean is None else mean
    std = flat.std(axis=0) / 255 if std is None else std
    return ImageData(
        name,
        train,
        test,
        image_size=x.shape[1] if x.shape[1] == x.shape[2] else x.shape[1:3],
        channels=x.shape[3],
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        num_classes=int(y.max()) + 1,
    )


class HeldBatches:
    """The batches of a run, cut from images on a device.

    A batch is `([images_i, images_j], labels, i, j)`, images (B, C, H, W) uint8. Where
    no partners are drawn, j is i, and the images come once.

    Args:
        images: The training images.
        batches: Which images are in a batch.
        device: Holds images and labels.
    """

    def __init__(
        self, images: HeldImages, batches: ShuffledBatches, device: torch.device
    ) -> None:
        planes = torch.from_numpy(images.pixels).permute(0, 3, 1, 2)
        self.images = planes.to(device).contiguous()
        self.labels = torch.from_numpy(images.targets).to(device)
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[list[Tensor], Tensor, Tensor, Tensor]]:
        device = self.images.device
        for keys in self.batches:
            items = [item for _, item in keys]
            pairs = [(i, i) if isinstance(i, int) else i for i in items]
            index, partner = torch.tensor(pairs).T
            shown = [index] if self.batches.partners is None else [index, partner]
            images = [self.images[samples.to(device)] for samples in shown]
            seed_generators(self.batches.seed, self.batches.step)
            self.batches.step += 1
            yield images, self.labels[index.to(device)], index, partner
