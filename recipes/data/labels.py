"""Show the labels of a share of the training images, and hide the others."""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from rkdo_plugin.export.encoder.pictures import Picture
from rkdo_plugin.recipes.data.draw import labels_of
from rkdo_plugin.recipes.data.images import LabelledImages

UNLABELLED = -1


def check_labelled(labelled: float) -> None:
    """Refuse a share of labels outside (0, 1]."""
    if not 0 < labelled <= 1:
        raise ValueError(f"Expected `labelled` to be in (0, 1] but got {labelled}")


class PartlyLabelled:
    """Images of which a share keep their label; the others get the label -1.

    Args:
        images: Labelled images.
        share: The share that keeps its label, in (0, 1]; the same in every class.
        seed: Seed of the choice.

    Attributes:
        labelled: Sorted indices of the images that keep their label.

    Raises:
        ValueError: A class would lose all its labels.

    Example:
        >>> from rkdo_plugin.recipes.data import load_data
        >>> images = PartlyLabelled(load_data("digits").train, 0.1, seed=0)
        >>> len(images.labelled), len(images)
        (143, 1437)
    """

    def __init__(self, images: LabelledImages, share: float, seed: int) -> None:
        check_labelled(share)
        self.images = images
        self.labelled = _stratified(images, share, seed)
        self._keeps = frozenset(self.labelled.tolist())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int, /) -> tuple[Picture, int]:
        image, label = self.images[index]
        return image, label if index in self._keeps else UNLABELLED


def _stratified(images: LabelledImages, share: float, seed: int) -> NDArray[np.int64]:
    every = np.arange(len(images))
    if share == 1:
        return every
    labels = labels_of(images)
    classes = len(np.unique(labels))
    if int(share * len(images)) < classes:
        raise ValueError(
            f"Expected `labelled` to leave a label for each of {classes} classes but "
            f"{share} of {len(images)} images is {share * len(images):g}"
        )
    kept, _ = train_test_split(
        every, train_size=share, stratify=labels, random_state=seed
    )
    return np.sort(kept)
