"""Read picture files as upright pixels of 8 bits, whatever their format and depth.

Pillow reads pictures for encoders of 1 or 3 channels. For other encoders the files are
.npy arrays (H, W, C) or TIFFs of C samples.
"""

import contextlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from rkdo_plugin.export.encoder.arrays import (
    MAGIC,
    TIFF,
    array_form,
    first_page,
    load_array,
    opened_page,
)

UInt8Array = npt.NDArray[np.uint8]
Picture = Image.Image | UInt8Array
"""A PIL image of mode L or RGB, or an array (H, W, C) of another number of channels."""

MODES = {1: "L", 3: "RGB"}  # of PIL, by the number of channels
BACKGROUND = "white"  # behind transparent pixels
SHOWN = 3  # names that `listed` gives

# Errors of Pillow's, tifffile's and numpy's decoders for damaged, unsupported and
# oversized files. Pillow's own UnidentifiedImageError is an OSError.
READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    MemoryError,
    EOFError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
)
# Pillow runs Ghostscript for EPS, and knows the headers of MPEG only.
NOT_DECODED = {"EPS", "MPEG"}


def open_picture(path: Path, channels: int) -> Picture:
    """Read one file as an encoder's images are: upright, 8 bits, without transparency.

    Of an animation, or of a TIFF with several pages, this is the first picture.

    Args:
        path: A file of any name; its content says what it is.
        channels: Channels of the encoder's images.

    Raises:
        OSError: The file is missing, damaged or no picture.
        ValueError: It has other channels, or numbers that are no intensities.
    """
    with path.open("rb") as file:
        return read_picture(file, channels, path.name)


def read_picture(
    file: BinaryIO, channels: int, name: str = "", draft: int | None = None
) -> Picture:
    """Read a picture from an open file; the rest is as in `open_picture`.

    Args:
        file: At its start, and able to seek.
        channels: Channels of the encoder's images.
        name: For the remedy in an error.
        draft: Decode a JPEG at 1/2, 1/4 or 1/8, no smaller than so many pixels.
    """
    start = file.read(len(MAGIC))
    file.seek(0)
    if start == MAGIC:
        return _of_array(load_array(file), channels)
    tiff = start.startswith(TIFF)
    if channels in MODES:
        try:
            # Not by its path: Pillow maps grey TIFFs into memory by that, and turns
            # those of some orientations into stripes.
            with Image.open(file, formats=list(_formats())) as image:
                if draft is not None:
                    image.draft(image.mode, (draft, draft))
                return as_picture(image, channels)
        except UnidentifiedImageError:
            if not tiff:  # there are TIFFs, such as those of floats, beyond Pillow
                raise OSError(f"not a picture{_remedy(name)}") from None
    if not tiff:
        raise ValueError(
            f"Expected a .npy file or a TIFF of {channels} channels but got another "
            "file"
        )
    file.seek(0)
    return _of_array(first_page(file), channels)


def as_picture(image: Image.Image, channels: int) -> Image.Image:
    """Turn a PIL image upright, and make it one of 8 bits without transparency.

    Args:
        image: An image of any mode. Deep greys are read as `eight_bits` says, and
            transparent pixels show a white background.
        channels: 3 for RGB, 1 for grey.

    Raises:
        ValueError: `channels` is neither 1 nor 3, or pixels lie outside these ranges.

    Example:
        >>> as_picture(Image.new("RGBA", (1, 1)), channels=1).getpixel((0, 0))
        255
    """
    if channels not in MODES:
        raise ValueError(f"Expected `channels` to be 1 or 3 but got {channels}")
    png = image.format == "PNG"
    image = ImageOps.exif_transpose(image)
    # PIL clips 16-bit and float pixels to 255 when it converts them.
    if image.mode == "F" or image.mode.startswith("I"):
        deep = np.asarray(image)
        pixels = eight_bits(deep.astype(np.uint16) if png else deep)
        clear = deep == image.info.get("transparency", -1)
        image = Image.fromarray(np.where(clear, np.uint8(255), pixels))
    elif image.has_transparency_data:
        backdrop = Image.new("RGBA", image.size, BACKGROUND)
        image = Image.alpha_composite(backdrop, image.convert("RGBA"))
    # By way of RGB: PIL has no conversion from some modes, such as Lab, to grey.
    return image if image.mode == MODES[channels] else _in(image, channels)


def eight_bits(pixels: npt.NDArray[Any]) -> UInt8Array:
    """Intensities as integers from 0 to 255, rounded.

    Args:
        pixels: uint8; uint16, which is divided by 257; floats from 0 to 1, which are
            multiplied by 255; or other integers from 0 to 255.

    Raises:
        ValueError: The numbers lie outside these ranges, or are not finite.

    Example:
        >>> eight_bits(np.array([0, 257, 65535], dtype=np.uint16)).tolist()
        [0, 1, 255]
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    highest = {"u": 255, "i": 255, "f": 1}.get(pixels.dtype.kind)
    measured = highest is not None and pixels.size > 0
    low, high = (pixels.min(), pixels.max()) if measured else (0, 0)
    if highest is None or not 0 <= low <= high <= highest:  # NaN fails, too
        raise ValueError(
            "Expected pixels as uint8, as uint16, as floats from 0 to 1 or as integers "
            f"from 0 to 255 but got {pixels.dtype}"
            + (f" from {low} to {high}" if measured else "")
        )
    if highest == 1:
        pixels = np.rint(255 * pixels.astype(np.float64))
    return pixels.astype(np.uint8)


def is_picture(path: str | Path) -> bool:
    """Whether a file is a picture, by its name or else by its first bytes.

    A file with a picture's name is not opened: there may be millions.
    """
    path = Path(path)
    if has_picture_name(path.name):
        return True
    told = [name for name, magic in _formats().items() if magic]
    try:
        if not path.is_file():  # reading a pipe could wait forever
            return False
        with path.open("rb") as file:
            if file.read(len(MAGIC)) == MAGIC:
                return True
        with Image.open(path, formats=told):
            return True
    except READ_ERRORS:
        return False


def has_picture_name(name: str) -> bool:
    """Whether a name ends as those of pictures do."""
    return Path(name).suffix.lower() in _suffixes()


def listed(names: Sequence[str]) -> str:
    """The first names of files, and how many there are.

    Example:
        >>> listed(["a", "b", "c", "d"])
        'a, b, c, ... (4 in all)'
    """
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def picture_shape(file: BinaryIO) -> tuple[int, int, int]:
    """Height, width and channels of a picture, by the header of its open file.

    The channels are 3 unless the file is a .npy array or a TIFF of several bands: what
    Pillow reads is meant to be seen.

    Raises:
        OSError: It is damaged or no picture.
        ValueError: It is a damaged .npy file, or an array of one dimension.
    """
    start = file.read(len(MAGIC))
    file.seek(0)
    if start == MAGIC:
        shape, _ = array_form(file)
        height, width, channels = shape if len(shape) == 3 else (*shape[:2], 1)
        return height, width, channels
    if start.startswith(TIFF):
        with opened_page(file) as page:
            alpha = any(extra in (1, 2) for extra in page.extrasamples)
            channels = 3 if alpha else page.samplesperpixel
            return page.imagelength, page.imagewidth, max(channels, 3)
    with Image.open(file, formats=list(_formats())) as image:
        return image.height, image.width, 3


def _of_array(pixels: npt.NDArray[Any], channels: int) -> Picture:
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    known = MODES if channels in MODES else {channels}
    if pixels.ndim != 3 or pixels.shape[2] not in known:
        last = pixels.ndim == 3 and pixels.shape[0] in known
        raise ValueError(
            f"Expected pixels (H, W, {channels}) but got {pixels.shape}"
            + ("; channels come last" if last else "")
        )
    narrow = eight_bits(pixels)
    if channels not in MODES:
        return narrow
    image = Image.fromarray(narrow[:, :, 0] if narrow.shape[2] == 1 else narrow)
    return _in(image, channels)


def _in(image: Image.Image, channels: int) -> Image.Image:
    return image.convert("RGB").convert(MODES[channels])


@cache
def _formats() -> dict[str, bool]:
    """Pillow's formats that it decodes by itself, and whether first bytes tell them."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return {
        name: accept is not None
        for name, (factory, accept) in Image.OPEN.items()
        if name not in NOT_DECODED
        and not (
            isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        )
    }


@cache
def _suffixes() -> frozenset[str]:
    """The file names' endings that mean a picture, in lower case."""
    formats = _formats()
    named = Image.registered_extensions().items()
    return frozenset({suffix for suffix, name in named if name in formats} | {".npy"})


def _remedy(name: str) -> str:
    """What helps with a file that Pillow cannot open, if its name tells."""
    if Path(name).suffix.lower() in (".heic", ".heif") and "HEIF" not in _formats():
        return "; for HEIC, pip install 'rkdo-plugin[heic]'"
    return ""
