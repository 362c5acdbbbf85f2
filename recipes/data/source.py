"""The data sets that `load_data` knows, as sources of images to embed."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.reading.item import Item
from rkdo_plugin.export.reading.source import Listed
from rkdo_plugin.recipes.data.load import load_data

LABEL = "label"


class NamedData(Listed):
    """The training or the test images of a named data set.

    The key is the image's number.

    Args:
        name: A name that `load_data` knows, and the part: "cifar10:test".
        keep: "label" or nothing.

    Example:
        >>> source = NamedData("digits:test", keep=["label"])
        >>> source.count(), next(iter(source)).kept
        (360, (7,))

    Raises:
        FileNotFoundError: The data set is not on this machine.
        ValueError: The name is unknown, or another column is named.
    """

    key = "row"

    def __init__(self, name: str, keep: Sequence[str]) -> None:
        super().__init__()
        if not set(keep) <= {LABEL}:
            raise ValueError(f"Expected the column {LABEL} but got {listed(keep)}")
        self.name = name
        data, part = name.split(":")
        self.images = getattr(load_data(data), part)
        self.kept = [pa.field(each, pa.int64()) for each in keep]

    def __str__(self) -> str:
        return self.name

    def __iter__(self) -> Iterator[Item]:
        for number in range(len(self.images)):
            picture, label = self.images[number]
            content = io.BytesIO()
            np.save(content, np.asarray(picture))
            kept = (int(label),) if self.kept else ()
            yield Item(str(number), content.getvalue(), kept)

    def count(self) -> int:
        """The number of images."""
        return len(self.images)
