"""Contact sheets: find the images of keys, and write a PNG and a page of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from PIL import Image

from rkdo_plugin.export.encoder.pictures import READ_ERRORS, read_picture
from rkdo_plugin.export.reading.folder import Folder
from rkdo_plugin.export.reading.item import Item, opened
from rkdo_plugin.export.reading.open import open_source
from rkdo_plugin.export.reading.source import Source
from rkdo_plugin.export.vectors.board import as_png
from rkdo_plugin.export.vectors.page import as_html
from rkdo_plugin.export.vectors.tiles import SIDE, Sheet, Thumbnails
from rkdo_plugin.publish import require_writable, write_whole

WRITERS = {".png": as_png, ".html": as_html}


class Shown(Protocol):
    """A result that a contact sheet can show."""

    @property
    def sheet(self) -> Sheet:
        """The sheet."""


def write_sheet(
    result: Shown,
    images: Source | str | Path,
    output: str | Path,
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a contact sheet of a result's images.

    An image that cannot be read is an empty frame with its key.

    Args:
        result: What `neighbours` or `compare_encoders` returned.
        images: What was embedded: a source, or a name for `open_source`, such as the
            folder.
        output: NAME.png or NAME.html. NAME writes both. The page holds its images, and
            loads nothing from elsewhere.
        overwrite: Whether older files may be replaced.

    Returns:
        The files that were written.

    Raises:
        FileExistsError: There is an older file, and `overwrite` is off.
        OSError: The folder of `output` cannot be written to, or there is no such
            source.
        ValueError: None of the images can be read.
    """
    places = sheet_places(output, overwrite=overwrite)
    sheet = result.sheet
    source = open_source(images) if isinstance(images, str | Path) else images
    thumbnails = _thumbnails(sheet, source)
    contents = [WRITERS[place.suffix](sheet, thumbnails) for place in places]
    for place, content in zip(places, contents, strict=True):
        write_whole(place, content, overwrite=overwrite)
    return places


def sheet_places(output: str | Path, *, overwrite: bool) -> tuple[Path, ...]:
    """The files that `write_sheet` writes, after a check that it can.

    Raises:
        OSError: It cannot.
    """
    path = Path(output)
    places: tuple[Path, ...] = (path,)
    if path.suffix not in WRITERS:
        places = tuple(path.with_name(path.name + suffix) for suffix in WRITERS)
    for place in places:
        require_writable(place, overwrite=overwrite)
    return places


def _thumbnails(sheet: Sheet, source: Source) -> Thumbnails:
    """Small images in RGB, by their keys.

    Raises:
        ValueError: None can be read.
    """
    found: dict[str, Image.Image] = {}
    reason = "there is no such image"
    for item in _items(sheet, source):
        try:
            with opened(item.place) as file:
                picture = read_picture(file, sheet.channels, item.key)
        except READ_ERRORS as error:
            reason = f"{type(error).__name__}: {error}"
            continue
        if not isinstance(picture, Image.Image):
            picture = Image.fromarray(picture[:, :, 0])  # of many bands, the first
        picture.thumbnail((SIDE, SIDE))
        zoom = SIDE // max(picture.size)  # of small ones, whose pixels stay sharp
        size = (zoom * picture.width, zoom * picture.height)
        found[item.key] = picture.convert("RGB").resize(size, Image.Resampling.NEAREST)
    if not found:
        raise ValueError(
            f"Expected the images of {source}, which were embedded, but none of the "
            f"sheet's can be read; the last: {reason}"
        )
    return found


def _items(sheet: Sheet, source: Source) -> Iterator[Item]:
    """The images of the sheet's tiles."""
    tiles = [tile for row in sheet.rows for tile in (row.first, *row.others)]
    yield from {t.key: Item(t.key, t.file) for t in tiles if t.file}.values()
    wanted = {tile.key for tile in tiles if not tile.file}
    if isinstance(source, Folder):  # it need not be listed
        yield from (Item(key, source.folder / key) for key in sorted(wanted))
    else:
        yield from (item for item in source if item.key in wanted)
