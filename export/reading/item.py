"""One image of a source, and where its bytes are."""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(frozen=True)
class Part:
    """Some bytes in the middle of a file, such as a member of a tar file."""

    file: Path
    offset: int
    size: int


Place = Path | bytes | Part
"""Where an image's bytes are: a file's path, the bytes, or a part of a file."""


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
        with place.file.open("rb") as file:
            file.seek(place.offset)
            return io.BytesIO(file.read(place.size))
    if not stat.S_ISREG(place.stat().st_mode):
        raise OSError("not a regular file")  # reading a pipe could wait forever
    return place.open("rb")


def printable(name: str) -> str:
    """A name with the bytes escaped that are not UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
