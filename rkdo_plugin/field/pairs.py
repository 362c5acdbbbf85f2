"""Pairs of samples that the response field draws, as a data set."""

import hashlib
import operator
from collections.abc import Callable, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from lightly.transforms.multi_view_transform import MultiViewTransform
from torch.utils.data import Dataset, IterableDataset

from rkdo_plugin.field.response_field import ResponseField

PROBES = 16  # samples that a data set's fingerprint looks at


class FieldPairs(Dataset[tuple[list[Any], Any, int, int]]):
    """Views of a sample and of the partner that the field draws for it.

    Item i is `([view0(x_i), view1(x_j)], target, i, j)`. Lightly's recipes read the
    views and the target as usual; `FieldCallback` reads i and j. Item (i, j) takes the
    partner j as given. A transform of more than two views makes all but the first of
    x_j. A partner that is another sample is loaded, too.

    The field's rows are in shared memory: loader workers, forked or spawned, persistent
    or not, draw from them as they are at that moment.

    Args:
        dataset: Map-style, of images or of tuples that start with (image, target),
            without a transform: torchvision's, a `LightlyDataset`, a `Subset`. Wrap the
            training part only, or partners come from outside it.
        transform: Maps an image to a list of views, as Lightly's transforms do.
        field: A response field with as many samples as the data set.

    Raises:
        TypeError: The data set has no indices.
        ValueError: The field is of another length, or of other data.
        IndexError: An item is outside [0, N).

    Example:
        >>> from lightly.transforms import SimCLRTransform
        >>> from rkdo_plugin.recipes.data import load_data
        >>> images = load_data("digits").train
        >>> field = ResponseField(num_samples=len(images), dim=128)
        >>> pairs = FieldPairs(images, SimCLRTransform(input_size=28), field)
        >>> views, target, i, j = pairs[7]
        >>> len(views), i, j  # one-hot at the start: the partner is the sample itself
        (2, 7, 7)
    """

    def __init__(
        self, dataset: Any, transform: Callable[[Any], Any], field: ResponseField
    ) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"Expected `dataset` to be map-style but got {type(dataset).__name__}, "
                "whose samples have no index: give it __getitem__ and __len__, for "
                "example by keeping the samples' names in a list"
            )
        if len(dataset) != field.num_samples:
            raise ValueError(
                f"Expected `field` to have {len(dataset)} samples, as many as "
                f"`dataset`, but got {field.num_samples}"
            )
        found = fingerprint(dataset)
        if field.fingerprint not in (None, found):
            raise ValueError(
                f"Expected the data set of `field`, fingerprint {field.fingerprint}, "
                f"but got {found}: images were replaced or reordered"
            )
        field.fingerprint = found
        self.dataset = dataset
        self.transform = transform
        self.rows = field.rows  # not the field: its embeddings stay out of the workers

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(
        self, item: int | tuple[int, int], /
    ) -> tuple[list[Any], Any, int, int]:
        if isinstance(item, tuple):
            index, partner = (self._checked(number) for number in item)
        else:
            index = self._checked(item)
            partner = int(self.rows.sample(torch.tensor([index])))
        image, target = _image_and_target(self.dataset[index])
        if partner == index:
            return list(self.transform(image)), target, index, partner
        other, _ = _image_and_target(self.dataset[partner])
        return self._views(image, other), target, index, partner

    def __getitems__(
        self, items: Sequence[int | tuple[int, int]], /
    ) -> list[tuple[list[Any], Any, int, int]]:
        """The items of a batch; torch's loader asks for them all at once.

        Partners drawn one by one would cost as much as the rest of the field.
        """
        index = [self._checked(item) for item in items if not isinstance(item, tuple)]
        partners = self.rows.sample(torch.tensor(index, dtype=torch.int64))
        drawn = zip(index, partners.tolist(), strict=True)
        return [
            self[item if isinstance(item, tuple) else next(drawn)] for item in items
        ]

    def _checked(self, item: SupportsIndex) -> int:
        index = operator.index(item)
        if not 0 <= index < len(self):
            raise IndexError(
                f"Expected an item in [0, {len(self)}) but got {index}: negative ones "
                "do not count from the end"
            )
        return index

    def _views(self, image: Any, other: Any) -> list[Any]:
        if isinstance(self.transform, MultiViewTransform):
            first, *rest = self.transform.transforms
            return [first(image), *(view(other) for view in rest)]
        return [self.transform(image)[0], *self.transform(other)[1:]]


def _image_and_target(item: Any) -> tuple[Any, Any]:
    if isinstance(item, tuple | list):
        return item[0], item[1] if len(item) > 1 else -1
    return item, -1


def fingerprint(dataset: Any) -> str:
    """A hash of a data set's length and of some of its samples, to know it again."""
    digest = hashlib.sha256(str(len(dataset)).encode())
    for index in np.linspace(0, len(dataset) - 1, num=PROBES, dtype=int).tolist():
        image, _ = _image_and_target(dataset[index])
        digest.update(np.ascontiguousarray(np.asarray(image)).tobytes())
    return digest.hexdigest()[:16]
