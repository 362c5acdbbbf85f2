"""Draw a part of a data set: the same images for the same seed, from all classes."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Subset

from rkdo_plugin.recipes.data.images import LabelledImages


def labels_of(images: LabelledImages) -> NDArray[np.int64]:
    """The classes (N,) of a data set's images, -1 where there is none.

    Images are not decoded where the data set holds its classes as torchvision's do.
    """
    if isinstance(images, Subset):
        whole: Any = images.dataset
        return labels_of(whole)[np.asarray(images.indices, dtype=np.int64)]
    for name in ("targets", "labels"):
        held = getattr(images, name, None)
        if held is not None and len(held) == len(images):
            return np.asarray(held, dtype=np.int64)
    every = range(len(images))
    return np.asarray([images[index][1] for index in every], dtype=np.int64)


def files_of(images: LabelledImages) -> list[Path] | None:
    """The files of a data set's images, in its order; None where they have none."""
    if isinstance(images, Subset):
        whole: Any = images.dataset
        files = files_of(whole)
        return None if files is None else [files[index] for index in images.indices]
    if hasattr(images, "samples"):  # torchvision's folders
        return [Path(file) for file, _ in images.samples]
    held: list[Path] | None = getattr(images, "files", None)
    return held


def draw(images: LabelledImages, count: int, seed: int) -> LabelledImages:
    """At most `count` images, as many of each class as there are, in their order.

    A larger draw with the same seed contains a smaller one.

    Args:
        images: The data set. Without classes all images are equally likely.
        count: Number of images.
        seed: Seed of the draw.

    Example:
        >>> from rkdo_plugin.recipes.data import load_data
        >>> few = draw(load_data("digits").train, 30, seed=0)
        >>> np.bincount(labels_of(few)).tolist()
        [3, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    """
    if count >= len(images):
        return images
    labels = labels_of(images)
    order = np.random.default_rng(seed).permutation(len(labels))
    rank = np.empty_like(labels)  # of each image among those of its class
    for label in np.unique(labels):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    first = order[np.argsort(rank[order], kind="stable")[:count]]
    subset: Subset[Any] = Subset(images, np.sort(first).tolist())  # type: ignore[arg-type]
    return subset
