"""What a process that decodes images runs. It is loky's, and imports no torch."""

import os
import signal
import threading
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import READ_ERRORS, UInt8Array, read_picture
from rkdo_plugin.export.reading.item import Place, opened
from rkdo_plugin.export.reading.shared import Shape, mapped

DRAFT = 4  # times the encoder's size: with 2, cosines fell by up to 3.5e-3
PARENT_SECONDS = 0.5  # between two looks at the process that started a worker


def decode_into(
    pixels: UInt8Array,
    places: Iterable[Place],
    image_size: ImageSize,
    channels: int,
    draft: bool = False,
) -> list[str | None]:
    """Decode images into rows of an array, and say which could not be read, and why."""
    least = DRAFT * max(sides(image_size)) if draft else None
    reasons: list[str | None] = []
    for row, place in enumerate(places):
        try:
            with opened(place) as file:
                name = place.name if isinstance(place, Path) else ""
                picture = read_picture(file, channels, name, least)
                pixels[row] = resize(picture, image_size, channels)
            reasons.append(None)
        except READ_ERRORS as error:
            reasons.append(f"{type(error).__name__}: {error}")
    return reasons


@cache
def _ring_of_worker(path: str, shape: Shape) -> UInt8Array:
    return mapped(path, shape)


def decode_into_slot(
    path: str,
    shape: Shape,
    slot: int,
    places: list[Place],
    image_size: ImageSize,
    channels: int,
    draft: bool,
) -> list[str | None]:
    """Do `decode_into` in a slot of the ring (slots, n, H, W, C) in a shared file."""
    pixels = _ring_of_worker(path, shape)[slot]
    return decode_into(pixels, places, image_size, channels, draft)


def begin(parent: int) -> None:
    """Prepare a worker."""
    # Ctrl-C reaches the whole group; a worker is ended by the one that started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, even if it was killed."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
