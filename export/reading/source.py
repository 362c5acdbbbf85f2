"""What all sources have."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from rkdo_plugin.export.reading.item import Item


class Source(Protocol):
    """Images in an order that is always the same.

    Attributes:
        key: Name of the column of keys.
        kept: The columns that are carried along.
        others: Files that are no images; complete once the items were read.
        unlisted: Folders that cannot be listed, with the reason; likewise.
    """

    key: str
    kept: Sequence[pa.Field]
    others: list[str]
    unlisted: list[tuple[str, str]]

    def __iter__(self) -> Iterator[Item]:
        """List the images anew."""

    def count(self) -> int:
        """About how many images there are, for the time that is left."""


class Listed:
    """The attributes of a source that has nothing to report."""

    key = "path"
    kept: Sequence[pa.Field] = ()

    def __init__(self) -> None:
        self.others: list[str] = []
        self.unlisted: list[tuple[str, str]] = []
