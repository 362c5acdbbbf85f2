"""Pairs of samples that the response field draws, as a data set."""

import hashlib
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from lightly.transforms.multi_view_transform import MultiViewTransform
from torch.utils.data import Dataset, IterableDataset

from rkdo_plugin.field.response_field import ResponseField
from rkdo_plugin.options import check_type

PROBES = 16  # samples that a data set's fingerprint looks at
NO_TARGET = -1
REMEDY = (
    "give FieldPairs(..., image=, target=) the keys, the indices, or functions of an "
    "item"
)

Part = str | int | Callable[[Any], Any]
"""Where an item has its image or its target: a key, an index, or a function of it."""


Pair = tuple[list[Any], Any, int, int]
"""Views, target, sample i, partner j."""


class FieldPairs(Dataset[Pair]):
    """Views of a sample and of the partner that the field draws for it.

    Item i is `([view0(x_i), view1(x_j)], target, i, j)`. Lightly's recipes read the
    views and the target as usual; `FieldCallback` reads i and j. Item (i, j) takes the
    partner j as given. A transform of more than two views makes all but the first of
    x_j. A partner that is another sample is loaded, too, once for a whole batch.

    The field's rows are in shared memory: loader workers, forked or spawned, persistent
    or not, draw from them as they are at that moment.

    Args:
        dataset: Map-style, without a transform: torchvision's, a `LightlyDataset`, a
            `Subset`, one of Hugging Face. Wrap the training part only, or partners come
            from outside it.
        transform: Maps an image to a list of views, as Lightly's transforms do. It must
            not change the image itself, which several views may be made of.
        field: A response field with as many samples as the data set.
        image: Where an item has its image: a key of a dict, an index of a tuple, or a
            function of the item, which loader workers that are spawned must be able to
            pickle. When not given, an item is an image or a tuple that starts with one.
        target: Where an item has its target, likewise. When neither is given, the
            second element of a tuple; else -1 for all.

    Raises:
        TypeError: The data set has no indices, its items are dicts and `image` is not
            given, or what an item has for an image is none.
        ValueError: The field is of another length, or of other data; items do not have
            `image` or `target`.
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

        Items that are dicts:

        >>> items = [{"photo": image, "class": label} for image, label in images]
        >>> field = ResponseField(num_samples=len(images), dim=128)
        >>> pairs = FieldPairs(
        ...     items, SimCLRTransform(input_size=28), field, "photo", "class"
        ... )
        >>> pairs[7][1] == target
        True
    """

    def __init__(
        self,
        dataset: Any,
        transform: Callable[[Any], Any],
        field: ResponseField,
        image: Part | None = None,
        target: Part | None = None,
    ) -> None:
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise TypeError(
                f"Expected `dataset` to be map-style but got {type(dataset).__name__}, "
                "whose samples have no index: give it __getitem__ and __len__, for "
                "example by keeping the samples' names in a list"
            )
        check_type("field", field, ResponseField)
        check_type("transform", transform, Callable, "a function of an image")
        for name, part in (("image", image), ("target", target)):
            if part is not None:
                kinds = (str, int, Callable)
                check_type(name, part, kinds, "a key, an index or a function of items")
        if len(dataset) != field.num_samples:
            raise ValueError(
                f"Expected `field` to have {len(dataset)} samples, as many as "
                f"`dataset`, but got {field.num_samples}"
            )
        self.dataset = dataset
        self.image, self.target = image, target
        found = self.fingerprint()
        if field.fingerprint not in (None, found):
            raise ValueError(
                f"Expected the data set of `field`, fingerprint {field.fingerprint}, "
                f"but got {found}: images were replaced or reordered"
            )
        field.fingerprint = found
        self.transform = transform
        self.rows = field.rows  # not the field: its embeddings stay out of the workers

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int | tuple[int, int], /) -> Pair:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int | tuple[int, int]], /) -> list[Pair]:
        """The items of a batch; torch's loader asks for them all at once.

        Partners drawn one by one would cost as much as the rest of the field.
        """
        index = [self._checked(item) for item in items if not isinstance(item, tuple)]
        partners = self.rows.sample(torch.tensor(index, dtype=torch.int64))
        drawn = zip(index, partners.tolist(), strict=True)
        return list(
            self.in_turn([i if isinstance(i, tuple) else next(drawn) for i in items])
        )

    def in_turn(self, items: Sequence[tuple[int, int]]) -> Iterator[Pair]:
        """The items (i, j) of a batch, each made when the iterator is asked for it.

        So a caller can seed the generators of each item's views. A sample that occurs
        several times in the batch is loaded once, and let go after its last use. No
        other sample is held: photographs are large.

        Raises:
            IndexError: A sample is outside [0, N).
        """
        checked = [(self._checked(i), self._checked(j)) for i, j in items]
        uses = Counter(sample for pair in checked for sample in set(pair))
        held: dict[int, tuple[Any, Any]] = {}

        def load(sample: int) -> tuple[Any, Any]:
            loaded = held.pop(sample, None) or self._image_and_target(sample)
            uses[sample] -= 1
            if uses[sample]:
                held[sample] = loaded
            return loaded

        for index, partner in checked:
            yield self._item(index, partner, load)

    def _item(
        self, index: int, partner: int, load: Callable[[int], tuple[Any, Any]]
    ) -> Pair:
        image, target = load(index)
        if partner == index:
            return list(self.transform(image)), target, index, partner
        other, _ = load(partner)
        return self._views(image, other), target, index, partner

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

    def fingerprint(self) -> str:
        """A hash of the data's length and of some of its images, to know it again."""
        digest = hashlib.sha256(str(len(self)).encode())
        for index in np.linspace(0, len(self) - 1, num=PROBES, dtype=int).tolist():
            image, _ = self._image_and_target(index)
            pixels = np.asarray(image)
            if pixels.dtype == object:  # NumPy knows nothing of what is inside
                raise TypeError(
                    "Expected the image of an item of `dataset` to be a PIL image, an "
                    f"array or a tensor but got {type(image).__name__}; {REMEDY}"
                )
            digest.update(np.ascontiguousarray(pixels).tobytes())
        return digest.hexdigest()[:16]

    def _image_and_target(self, index: int) -> tuple[Any, Any]:
        item, image, target = self.dataset[index], self.image, self.target
        if image is None and isinstance(item, Mapping):
            raise TypeError(
                "Expected `image` to say where an item of `dataset` has its image but "
                f"got None, and a {_describe(item)}; {REMEDY}"
            )
        if isinstance(item, tuple | list):
            if image is None and target is None and len(item) > 1:
                target = 1
            image = 0 if image is None else image
        return (
            item if image is None else _part("image", image, item),
            NO_TARGET if target is None else _part("target", target, item),
        )


def _part(name: str, part: Part, item: Any) -> Any:
    if callable(part):
        return part(item)
    if isinstance(item, Mapping | tuple | list):
        try:
            return item[part]  # type: ignore[index]
        except (LookupError, TypeError):  # a key of a tuple
            pass
    raise ValueError(
        f"Expected an item of `dataset` to have `{name}` at {part!r} but got a "
        f"{_describe(item)}"
    )


def _describe(item: Any) -> str:
    kind = type(item).__name__
    if isinstance(item, Mapping):
        return f"{kind} with the keys " + ", ".join(map(repr, item))
    if isinstance(item, tuple | list):
        return f"{kind} of " + ", ".join(type(value).__name__ for value in item)
    return kind
