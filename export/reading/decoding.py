"""Decode images in worker processes, into memory that they share with this one.

The workers are loky's: they import neither torch nor the calling script.
"""

import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import islice
from pathlib import Path
from types import TracebackType

import numpy as np
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import READ_ERRORS, UInt8Array, read_picture
from rkdo_plugin.export.reading.item import Item, Place, opened

CHUNK = 8  # images that a worker decodes at a time
AHEAD = 3  # chunks of each worker that are decoded, or being so, at once
WORTH_WORKERS = 200  # images: with fewer the workers' start takes longer than it saves
PARENT_SECONDS = 0.5  # between two looks at the process that started a worker
Shape = tuple[int, ...]


class Decoder:
    """Reads, decodes and resizes images as an encoder wants them.

    Args:
        image_size: Height and width of the result in pixels.
        channels: Of the result.
        workers: Number of processes. With 0 it all happens in this one.
        chunk: Number of images that one decodes at a time.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self, image_size: ImageSize, channels: int, workers: int, chunk: int = CHUNK
    ) -> None:
        for name, number, least in (("workers", workers, 0), ("batch_size", chunk, 1)):
            if number < least:
                raise ValueError(
                    f"Expected `{name}` to be at least {least} but got {number}"
                )
        self.image_size, self.channels, self.workers = image_size, channels, workers
        self.chunk = chunk
        self._closing = ExitStack()

    def __enter__(self) -> "Decoder":
        slots = AHEAD * self.workers if self.workers else 1
        self.shape = (slots, self.chunk, *sides(self.image_size), self.channels)
        if not self.workers:
            self._ring: UInt8Array = np.empty(self.shape, dtype=np.uint8)
            return self
        self._file = self._closing.enter_context(SharedFile(int(np.prod(self.shape))))
        self._ring = mapped(self._file.path, self.shape)
        self._pool = ProcessPoolExecutor(
            self.workers, initializer=_begin, initargs=(os.getpid(),)
        )
        self._closing.callback(self._pool.shutdown, wait=True, kill_workers=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._ring
        self._closing.close()

    def chunks(
        self, items: Iterable[Item]
    ) -> Iterator[tuple[list[Item], UInt8Array, list[str | None]]]:
        """Decode images, some ahead of what is asked for.

        Args:
            items: The images.

        Yields:
            A chunk of the images, in their order: the items, their pixels
            (n, H, W, C), which are overwritten later, and for each of them None, or why
            it could not be read.

        Raises:
            RuntimeError: A worker was killed.
        """
        rest = iter(items)
        if not self.workers:
            while chunk := list(islice(rest, self.chunk)):
                places = [item.place for item in chunk]
                reasons = decode_into(
                    self._ring[0], places, self.image_size, self.channels
                )
                yield chunk, self._ring[0][: len(chunk)], reasons
            return
        pending: deque[tuple[list[Item], int, object]] = deque()
        free = deque(range(len(self._ring)))
        while True:
            while free and (chunk := list(islice(rest, self.chunk))):
                slot = free.popleft()
                places = [item.place for item in chunk]
                future = self._pool.submit(
                    _decode_into_slot,
                    self._file.path,
                    self.shape,
                    slot,
                    places,
                    self.image_size,
                    self.channels,
                )
                pending.append((chunk, slot, future))
            if not pending:
                return
            chunk, slot, future = pending.popleft()
            try:
                reasons = future.result()  # type: ignore[attr-defined]
            except TerminatedWorkerError as error:
                raise RuntimeError(
                    "a process that decodes images was killed, perhaps for want of "
                    f"memory, at one of {chunk[0].key} ... {chunk[-1].key}; try fewer "
                    "workers"
                ) from error
            yield chunk, self._ring[slot][: len(chunk)], reasons
            free.append(slot)


def decode_into(
    pixels: UInt8Array, places: Iterable[Place], image_size: ImageSize, channels: int
) -> list[str | None]:
    """Decode images into rows of an array, and say which could not be read, and why."""
    reasons: list[str | None] = []
    for row, place in enumerate(places):
        try:
            with opened(place) as file:
                name = place.name if isinstance(place, Path) else ""
                picture = read_picture(file, channels, name)
                pixels[row] = resize(picture, image_size, channels)
            reasons.append(None)
        except READ_ERRORS as error:
            reasons.append(f"{type(error).__name__}: {error}")
    return reasons


def default_workers(images: int) -> int:
    """One for each core that this process may use; none for few images."""
    if images < WORTH_WORKERS:
        return 0
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class SharedFile:
    """A file in memory, or else in the folder for temporary files, that others map.

    On Linux it has no name in any folder, so that it is gone with this process, however
    that ends; and it does not count against the size of /dev/shm, which containers keep
    small.
    """

    def __init__(self, size: int) -> None:
        self._closing = ExitStack()
        if hasattr(os, "memfd_create"):
            number = os.memfd_create("rkdo-images")
            self._closing.callback(os.close, number)
            os.ftruncate(number, size)
            self.path = f"/proc/{os.getpid()}/fd/{number}"
            return
        folder = self._closing.enter_context(tempfile.TemporaryDirectory())
        file = Path(folder, "images")
        file.touch()
        os.truncate(file, size)
        self.path = str(file)

    def __enter__(self) -> "SharedFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()


def mapped(path: str, shape: Shape) -> UInt8Array:
    """An array in a shared file."""
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)


def _begin(parent: int) -> None:
    """Prepare a worker."""
    # Ctrl-C reaches the whole group; a worker is ended by the one that started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, even if it was killed."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


@cache
def _ring_of_worker(path: str, shape: Shape) -> UInt8Array:
    return mapped(path, shape)


def _decode_into_slot(
    path: str,
    shape: Shape,
    slot: int,
    places: list[Place],
    image_size: ImageSize,
    channels: int,
) -> list[str | None]:
    pixels = _ring_of_worker(path, shape)[slot]
    return decode_into(pixels, places, image_size, channels)
