"""Read arrays: .npy files and TIFFs, and never more than a small file may claim."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

MAGIC = b"\x93NUMPY"
HEADER = 10_000  # bytes; numpy's own bound, which it applies once the header is read
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PIXEL_BYTES = 8  # of a TIFF, for each of Pillow's MAX_IMAGE_PIXELS

Form = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and type of an array."""


def array_form(file: BinaryIO) -> Form:
    """Shape and type of a file's array, by its header.

    Args:
        file: Open, and able to seek.

    Raises:
        ValueError: The header is damaged, or tells of more bytes than there are, or of
            Python objects, which are pickles. The errors of `READ_ERRORS` in
            pictures.py come from numpy.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    form = np.lib.format
    first = form.read_magic(file) == (1, 0)
    width = 2 if first else 4
    length = file.read(width)
    header = int.from_bytes(length, "little")
    if len(length) < width or header > HEADER:
        raise ValueError(
            f"Expected a header of at most {HEADER} bytes but got {header}"
        )
    file.seek(-width, io.SEEK_CUR)
    read = form.read_array_header_1_0 if first else form.read_array_header_2_0
    shape, _, kind = read(file)
    if kind.hasobject:
        raise ValueError("Expected numbers but got Python objects")
    told, held = math.prod(shape) * kind.itemsize, size - file.tell()
    if told > held:
        raise ValueError(
            f"Expected {told} bytes, as the shape is {shape} of {kind}, but got {held}"
        )
    return shape, kind


def load_array(file: BinaryIO) -> npt.NDArray[Any]:
    """The array of a file; arguments and errors are those of `array_form`."""
    array_form(file)
    file.seek(0)
    array: npt.NDArray[Any] = np.load(file, allow_pickle=False)
    return array


def first_page(file: BinaryIO) -> npt.NDArray[Any]:
    """The pixels (H, W, C) of a TIFF's first page.

    Raises:
        OSError: It has none, or no size.
        ValueError: It tells of too many. The errors of `READ_ERRORS` come from
            tifffile.
    """
    with opened_page(file) as page:
        most = PIXEL_BYTES * (Image.MAX_IMAGE_PIXELS or math.inf)
        if page.nbytes > most:
            raise ValueError(f"Expected at most {most} bytes but got {page.nbytes}")
        pixels: npt.NDArray[Any] = page.asarray()
        return np.moveaxis(pixels, 0, 2) if page.axes == "SYX" else pixels


@contextmanager
def opened_page(file: BinaryIO) -> Iterator[Any]:
    """The first page of a TIFF, as tifffile gives it.

    Raises:
        OSError: There is none, or it has no size.
        ValueError: The file is damaged. Other errors of `READ_ERRORS` come from
            tifffile, too.
    """
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            if not tiff.pages:
                raise OSError("a TIFF without a picture")
            page = tiff.pages.first
            sizes = (page.imagelength, page.imagewidth, page.samplesperpixel)
            if not all(isinstance(size, int) and size > 0 for size in sizes):
                raise OSError(f"a TIFF of the size {sizes!r:.50}")
            yield page
    except tifffile.TiffFileError as error:  # a ValueError in newer releases alone
        raise ValueError(str(error)) from error
