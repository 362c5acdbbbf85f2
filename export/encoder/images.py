"""Images for an encoder: the check, the resize, and generated samples."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

UInt8Array = npt.NDArray[np.uint8]

MAX_BATCH = 256  # images that run at once

RESIZE = (
    "PIL bilinear with antialiasing: shorter side to image_size, longer side rounded "
    "down; then centre crop to image_size x image_size"
)

MAX_RESIZED_PIXELS = 100_000_000  # before the crop; PIL needs 4 bytes for each


def require_images(
    images: npt.NDArray[Any] | Tensor, image_size: int | None, channels: int
) -> None:
    """Check that images are uint8 (B, H, W, C) and of the encoder's size.

    Args:
        images: Array or tensor to check.
        image_size: Expected height and width in pixels. None: any.
        channels: Expected number of channels, which come last in the shape.

    Raises:
        TypeError: `images` is not an array, or its elements are not uint8.
        ValueError: The shape is not (B, image_size, image_size, channels), or an image
            has no pixels.
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
    if fits and (image_size is None or shape[1:3] == (image_size, image_size)):
        return
    sides = ("H", "W") if image_size is None else (image_size, image_size)
    hint = ""
    if len(shape) == 4 and shape[1:] == (channels, *sides):
        hint = "; channels come last: transpose with (0, 2, 3, 1)"
    elif shape == (*sides, channels):
        hint = "; a single image needs a batch dimension: pass images[None]"
    raise ValueError(
        "Expected `images` to be of shape (B, H, W, C) = "
        f"(B, {sides[0]}, {sides[1]}, {channels}) but got {shape}{hint}"
    )


def resize(image: Image.Image, image_size: int, channels: int) -> UInt8Array:
    """Resize and crop one picture to the encoder's input, as `RESIZE` describes.

    Args:
        image: Picture of any size. Palettes and transparency are converted.
        image_size: Height and width of the result in pixels.
        channels: 3 for RGB, 1 for grey.

    Returns:
        Pixels, uint8 (image_size, image_size, channels).

    Raises:
        ValueError: The picture's mode has no conversion to 8 bits, `channels` is
            neither 1 nor 3, or the picture is so long and narrow that it would have
            more than `MAX_RESIZED_PIXELS` pixels before the crop.

    Example:
        >>> resize(Image.new("L", (40, 20)), image_size=8, channels=3).shape
        (8, 8, 3)
    """
    modes = {1: "L", 3: "RGB"}
    if channels not in modes:
        raise ValueError(f"Expected `channels` to be 1 or 3 but got {channels}")
    # PIL clips 16-bit and float pixels to 255 when it converts them.
    if image.mode == "F" or image.mode.startswith("I"):
        raise ValueError(
            f"Expected 8 bits for each channel but got PIL mode '{image.mode}'"
        )
    shorter = min(image.size)
    width, height = (side * image_size // shorter for side in image.size)
    # Cropping first would need less memory but changes pixels by a grey level.
    if width * height > MAX_RESIZED_PIXELS:
        raise ValueError(
            f"Expected at most {MAX_RESIZED_PIXELS:,} pixels after the resize but got "
            f"{width} x {height} from {image.width} x {image.height}"
        )
    image = image.convert(modes[channels])
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    image = image.crop((left, top, left + image_size, top + image_size))
    return np.asarray(image).reshape(image_size, image_size, channels)


def sample_images(count: int, image_size: int, channels: int) -> UInt8Array:
    """Generate smooth pictures with an edge, the same ones on every call.

    Every image has its own gradient, waves and a bright disc. White noise would average
    out in an encoder's pooling and hide errors that pictures show.

    Args:
        count: Number of images, at least 1.
        image_size: Height and width in pixels.
        channels: Number of channels. The waves of each have their own phase.

    Returns:
        Images, uint8 (count, image_size, image_size, channels).
    """
    # Multiples of irrational numbers fill the unit interval evenly, without a seed.
    place = np.arange(1, count + 1).reshape(-1, 1, 1, 1)
    first, second, third = (place * root % 1 for root in np.sqrt([2, 3, 5]))
    axis = (np.arange(image_size) + 0.5) / image_size
    y, x = axis.reshape(1, -1, 1, 1), axis.reshape(1, 1, -1, 1)
    phase = np.arange(channels).reshape(1, 1, 1, -1) / channels
    waves = np.sin(2 * np.pi * ((1 + first) * x + (1 + second) * y + phase))
    gradient = (first - 0.5) * x + (third - 0.5) * y
    disc = np.hypot(x - second, y - third) < 0.1 + 0.2 * first
    values = 0.5 + 0.25 * waves + 0.4 * gradient + 0.3 * disc * (0.4 + 0.6 * phase)
    return np.asarray(np.clip(255 * values, 0, 255).astype(np.uint8))
