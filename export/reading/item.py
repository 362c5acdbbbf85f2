"""One image of a source, and where its bytes are."""

import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from rkdo_plugin.export.reading.files import File, open_part


@dataclass(frozen=True)
class Part:
    """Some bytes in the middle of a file, such as a member of a tar file."""

    file: File
    offset: int
    size: int


Place = File | bytes | Part
"""Where an image's bytes are: a path or a URL, the bytes, or a part of a file."""


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        key: Names it in the results.
        place: Where its bytes are.
        kept: Values of the columns that are carried along.
    """

    key: str
    place: Place
    kept: tuple[Any, ...] = ()


def opened(place: Place) -> BinaryIO:
    """The bytes of an image as an open file.

    Raises:
        OSError: The file is missing, or is not a regular one.
    """
    if isinstance(place, bytes):
        return io.BytesIO(place)
    if isinstance(place, Part):
        return open_part(place.file, place.offset, place.size)
    return open_part(place)


def printable(name: str) -> str:
    """A name with the bytes escaped that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
