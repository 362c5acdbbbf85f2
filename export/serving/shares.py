"""Share the cores out between decoding and the model, by what an image takes."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from math import ceil
from statistics import median
from time import perf_counter

import numpy as np

from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.reading.decoding import cores
from rkdo_plugin.export.reading.item import Item
from rkdo_plugin.export.reading.source import Source
from rkdo_plugin.export.reading.worker import decode_into
from rkdo_plugin.export.runtime.session import EmbeddingSession

TRIED = 8  # images whose decoding is timed
RUNS = 3  # of the model
SPARE = 1.5  # later images may be larger than the first ones


def workers_for(available: int, decoding: float, embedding: float) -> int:
    """Number of processes that keep a model on the same cores busy, and some to spare.

    Of C cores, with d and m seconds of one for an image, C / (d + m) images a second
    get through, so that C d / (d + m) of them decode. The model has a thread for each
    core: the system runs the threads on those that are left.

    Args:
        available: C, the number of cores, which is also the most that is returned.
        decoding: d, seconds of one core for an image.
        embedding: m, likewise.

    Example:
        >>> workers_for(64, decoding=0.004, embedding=0.034)
        11
    """
    busy = available * decoding / (decoding + embedding)
    return min(available, ceil(SPARE * busy))


def seconds_for_each(
    session: EmbeddingSession, source: Source, draft: bool
) -> tuple[float, float]:
    """Seconds of one core to decode one of the first images, and to embed it."""
    size, channels = session.image_size, session.channels
    pixels = np.zeros((1, *sides(size), channels), dtype=np.uint8)

    def decode(item: Item) -> None:
        decode_into(pixels, [item.place], size, channels, draft)

    items = list(islice(source, TRIED))
    for item in items[:1]:
        decode(item)  # the first time loads what reads a format
    decoding = [_seconds(partial(decode, item)) for item in items]
    # Other programs only add to the time, and the first run has memory to ask for.
    embedding = min(_seconds(partial(session.embed, pixels)) for _ in range(RUNS))
    return median(decoding or [0.0]), embedding * (session.threads or cores())


def _seconds(call: Callable[[], object]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started
