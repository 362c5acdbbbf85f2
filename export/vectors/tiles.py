"""What a contact sheet shows: rows of tiles, each an image with a caption."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

SIDE = 160  # pixels of the longer side of an image on a sheet

Thumbnails = Mapping[str, Image.Image]
"""Small images in RGB by their keys. One that cannot be read is not there."""


@dataclass(frozen=True)
class Tile:
    """One image with its caption.

    Attributes:
        key: Its key in the vectors, or the path of its file.
        caption: Shown below it, with the key.
        file: Where it lies; None if its key says that.
    """

    key: str
    caption: str
    file: Path | None = None


@dataclass(frozen=True)
class Row:
    """An image and those beside it.

    Attributes:
        title: Above the row.
        first: The image itself.
        others: Those beside it.
    """

    title: str
    first: Tile
    others: tuple[Tile, ...]


@dataclass(frozen=True)
class Sheet:
    """A contact sheet.

    Attributes:
        title: One line.
        rows: From the top to the bottom.
        channels: Of the encoder's images.
    """

    title: str
    rows: tuple[Row, ...]
    channels: int = 3
