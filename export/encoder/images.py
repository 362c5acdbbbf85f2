"""Images for an encoder: the check, the resize, and generated samples."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.export.encoder.pictures import Picture, UInt8Array, as_picture

if TYPE_CHECKING:
    from torch import Tensor

MAX_BATCH = 256  # images that run at once

RESIZE = (
    "PIL bilinear with antialiasing of the upright picture (EXIF orientation applied): "
    "to the smallest size that covers image_size, height x width, rounded down; then "
    "centre crop to image_size"
)

MAX_RESIZED_PIXELS = 100_000_000  # before the crop; PIL needs 4 bytes for each


def require_images(
    images: "npt.NDArray[Any] | Tensor", image_size: ImageSize | None, channels: int
) -> None:
    """Check that images are uint8 (B, H, W, C) and of the encoder's size.

    Args:
        images: Array or tensor to check.
        image_size: Expected height and width in pixels. None: any.
        channels: Expected number of channels, which come last in the shape.

    Raises:
        TypeError: `images` is not an array, or its elements are not uint8.
        ValueError: The shape is not (B, H, W, channels), or an image has no pixels.
    """
    if not hasattr(images, "dtype"):
        raise TypeError(
            "Expected `images` to be an array or a tensor of uint8 but got "
            f"{type(images).__name__}"
        )
    if str(images.dtype).removeprefix("torch.") != "uint8":
        raise TypeError(
            "Expected `images` to be uint8 with values 0 to 255 but got "
            f"{images.dtype}; the encoder scales and normalises images itself"
        )
    shape = tuple(images.shape)
    fits = len(shape) == 4 and shape[3] == channels and min(shape[1:3]) > 0
    if fits and (image_size is None or shape[1:3] == sides(image_size)):
        return
    height, width = ("H", "W") if image_size is None else sides(image_size)
    hint = ""
    if len(shape) == 4 and shape[1:] == (channels, height, width):
        hint = "; channels come last: transpose with (0, 2, 3, 1)"
    elif shape == (height, width, channels):
        hint = "; a single image needs a batch dimension: pass images[None]"
    raise ValueError(
        "Expected `images` to be of shape (B, H, W, C) = "
        f"(B, {height}, {width}, {channels}) but got {shape}{hint}"
    )


def resize(picture: Picture, image_size: ImageSize, channels: int) -> UInt8Array:
    """Resize and crop one picture to the encoder's input, as `RESIZE` describes.

    Args:
        picture: A PIL image of any size and mode, which `as_picture` converts; or an
            array (H, W, C) of 8 bits.
        image_size: Height and width of the result in pixels.
        channels: 3 for RGB, 1 for grey, or C of an array.

    Returns:
        Pixels, uint8 (height, width, channels).

    Raises:
        ValueError: The picture has other channels, its pixels have no conversion to 8
            bits, or it is so long and narrow that it would have more than
            `MAX_RESIZED_PIXELS` pixels before the crop.

    Example:
        >>> resize(Image.new("L", (40, 20)), image_size=(8, 4), channels=3).shape
        (8, 4, 3)
    """
    if isinstance(picture, Image.Image):
        planes = [as_picture(picture, channels)]
    elif picture.shape[2:] == (channels,):
        planes = [Image.fromarray(picture[:, :, c]) for c in range(channels)]
    else:
        raise ValueError(f"Expected {channels} channels last but got {picture.shape}")
    width, height = size = planes[0].size
    new_height, new_width = sides(image_size)
    # Scale by the larger ratio of the sides: the other side then covers its own.
    new, old = max(
        (new_height, height), (new_width, width), key=lambda pair: pair[0] / pair[1]
    )
    scaled_width, scaled_height = (side * new // old for side in size)
    # Cropping first would need less memory but changes pixels by a grey level.
    if scaled_width * scaled_height > MAX_RESIZED_PIXELS:
        raise ValueError(
            f"Expected at most {MAX_RESIZED_PIXELS:,} pixels after the resize but got "
            f"{scaled_width} x {scaled_height} from {width} x {height}"
        )
    left = round((scaled_width - new_width) / 2)
    top = round((scaled_height - new_height) / 2)
    box = (left, top, left + new_width, top + new_height)
    bilinear = Image.Resampling.BILINEAR
    fitted = [
        np.asarray(plane.resize((scaled_width, scaled_height), bilinear).crop(box))
        for plane in planes
    ]
    return fitted[0] if len(fitted) == 1 and channels == 3 else np.dstack(fitted)


def sample_images(count: int, image_size: ImageSize, channels: int) -> UInt8Array:
    """Generate smooth pictures with an edge, the same ones on every call.

    Every image has its own gradient, waves and a bright disc. White noise would average
    out in an encoder's pooling and hide errors that pictures show.

    Args:
        count: Number of images, at least 1.
        image_size: Height and width in pixels.
        channels: Number of channels. The waves of each have their own phase.

    Returns:
        Images, uint8 (count, height, width, channels).
    """
    # Multiples of irrational numbers fill the unit interval evenly, without a seed.
    place = np.arange(1, count + 1).reshape(-1, 1, 1, 1)
    first, second, third = (place * root % 1 for root in np.sqrt([2, 3, 5]))
    height, width = sides(image_size)
    y = ((np.arange(height) + 0.5) / height).reshape(1, -1, 1, 1)
    x = ((np.arange(width) + 0.5) / width).reshape(1, 1, -1, 1)
    phase = np.arange(channels).reshape(1, 1, 1, -1) / channels
    waves = np.sin(2 * np.pi * ((1 + first) * x + (1 + second) * y + phase))
    gradient = (first - 0.5) * x + (third - 0.5) * y
    disc = np.hypot(x - second, y - third) < 0.1 + 0.2 * first
    values = 0.5 + 0.25 * waves + 0.4 * gradient + 0.3 * disc * (0.4 + 0.6 * phase)
    return np.asarray(np.clip(255 * values, 0, 255).astype(np.uint8))
