"""Decode the image files of a request, none larger than the server allows."""

from io import BytesIO

from PIL import UnidentifiedImageError

from rkdo_plugin.export.encoder.image_size import ImageSize
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import (
    READ_ERRORS,
    UInt8Array,
    picture_shape,
    read_picture,
)


def decode(
    content: bytes, image_size: ImageSize, channels: int, max_pixels: int
) -> UInt8Array:
    """Decode and resize one image file, as `rkdo embed` does.

    Args:
        content: The file's bytes.
        image_size: Height and width of the result in pixels.
        channels: Of the result.
        max_pixels: Of the image before the resize. Its header is checked first.

    Returns:
        Pixels, uint8 (H, W, C).

    Raises:
        ValueError: It is damaged, no image or too large.
    """
    file = BytesIO(content)
    try:
        height, width, found = picture_shape(file)
        if found > max(channels, 3):
            raise ValueError(f"Expected {channels} channels but got {found}")
        if height * width > max_pixels:
            raise ValueError(
                f"Expected at most {max_pixels} pixels but got {height} x {width}"
            )
        file.seek(0)
        return resize(read_picture(file, channels), image_size, channels)
    except UnidentifiedImageError:
        raise ValueError("not a picture") from None
    except READ_ERRORS as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
