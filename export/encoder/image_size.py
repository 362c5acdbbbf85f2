"""The size of an encoder's images: one number for a square, or height and width."""

import re
from collections.abc import Sequence
from numbers import Integral
from typing import Any

ImageSize = int | tuple[int, int]
"""Height and width in pixels: one integer where they are the same, else (H, W)."""

_WRITTEN = re.compile(r"(\d{1,9})(?:x(\d{1,9}))?", re.ASCII)


def as_image_size(value: int | Sequence[int]) -> ImageSize:
    """The size that a number or a pair names; a square is one integer.

    Args:
        value: 224; or (256, 128) or [256, 128], height before width.

    Raises:
        TypeError: It is none of these.
        ValueError: A side is below 1.

    Example:
        >>> as_image_size((256, 128)), as_image_size((224, 224))
        ((256, 128), 224)
    """
    height, width = _pair(value)
    if min(height, width) < 1:
        raise ValueError(f"Expected `image_size` to be at least 1 but got {value!r}")
    return height if height == width else (height, width)


def parse_image_size(text: str) -> ImageSize:
    """The size that a text names, as `written` gives it: "224" or "256x128".

    Raises:
        ValueError: The text has another form, or a side is below 1.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(
            "Expected `image_size` to be one integer, or height and width as 256x128, "
            f"but got '{text:.50}'"
        )
    height, width = match.groups(match[1])
    return as_image_size((int(height), int(width)))


def optional_image_size(value: int | str | None) -> ImageSize | None:
    """The size that an option holds, as a number or as a text; None for none."""
    if value is None:
        return None
    return parse_image_size(value) if isinstance(value, str) else as_image_size(value)


def sides(image_size: ImageSize) -> tuple[int, int]:
    """Height and width in pixels.

    Example:
        >>> sides(224)
        (224, 224)
    """
    return image_size if isinstance(image_size, tuple) else (image_size, image_size)


def written(image_size: ImageSize) -> str:
    """The text of a size, which `parse_image_size` reads: "224" or "256x128"."""
    if isinstance(image_size, tuple):
        return "{}x{}".format(*image_size)
    return str(image_size)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value), int(value)
    if (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(side, Integral) for side in value)
    ):
        return int(value[0]), int(value[1])
    raise TypeError(
        "Expected `image_size` to be one integer, or height and width as (256, 128), "
        f"but got {value!r}"
    )
