"""Decode images in worker processes, and use their pixels in threads of this one."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from time import perf_counter
from types import TracebackType

import numpy as np
import numpy.typing as npt
from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.reading.item import Item
from rkdo_plugin.export.reading.shared import SharedFile, mapped
from rkdo_plugin.export.reading.worker import begin, decode_into, decode_into_slot

AHEAD = 3  # chunks of each worker that are decoded, or being so, at once
CHUNK_BYTES = 2**21  # pixels of a chunk, roughly
CHUNK_IMAGES = 64  # at most: a worker that fails is noticed at the end of one
STARVED = 0.5  # share of the time in which lanes wait for pixels, as workers are few
PATIENCE = 5.0  # seconds over which that is looked at, more than workers take to start
WORTH_WORKERS = 200  # images: with fewer the workers' start takes longer than it saves

Reasons = list[str | None]
"""For each image None, or why it could not be read."""
Rows = npt.NDArray[np.float32]


class Decoder:
    """Reads, decodes and resizes images as an encoder wants them.

    Args:
        image_size: Height and width of the result in pixels.
        channels: Of the result.
        workers: Number of processes that decode. With 0 the lanes do.
        batch_size: Number of images that are used at once. Chunks are several batches.
        lanes: Number of threads that use the pixels.
        draft: Whether libjpeg may decode large JPEGs at 1/2, 1/4 or 1/8, if four times
            the image size is left.
        most_workers: Number of processes from when on lanes wait for pixels most of
            the time; by default it stays the same.

    Attributes:
        workers: Number of processes that decode now.
        waited: Seconds in which lanes waited for pixels, their mean.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        image_size: ImageSize,
        channels: int,
        workers: int,
        batch_size: int,
        lanes: int = 1,
        draft: bool = False,
        most_workers: int | None = None,
    ) -> None:
        for name, number, least in (
            ("workers", workers, 0),
            ("batch_size", batch_size, 1),
        ):
            if number < least:
                raise ValueError(
                    f"Expected `{name}` to be at least {least} but got {number}"
                )
        self.image_size, self.channels, self.workers = image_size, channels, workers
        self.draft = draft
        self.batch_size, self.lanes, self.waited = batch_size, lanes, 0.0
        height, width = sides(image_size)
        self.chunk = chunk_images(image_size, channels, batch_size)
        self._most = workers if most_workers is None else most_workers
        slots = self._slots(self._most)
        self._shape = (slots, self.chunk, height, width, channels)
        self._closing = ExitStack()

    def __enter__(self) -> "Decoder":
        self._threads = ThreadPoolExecutor(self.lanes)
        self._closing.callback(self._threads.shutdown, cancel_futures=True)
        if not self.workers:
            self._ring: UInt8Array = np.empty(self._shape, dtype=np.uint8)
            return self
        size = int(np.prod(self._shape))
        self._file = self._closing.enter_context(SharedFile(size))
        self._ring = mapped(self._file.path, self._shape)
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()
        del self._ring

    def map(
        self, items: Iterable[Item], use: Callable[[UInt8Array], Rows]
    ) -> Iterator[tuple[list[Item], Rows, Reasons]]:
        """Decode images, some ahead of what is asked for, and use their pixels.

        Args:
            items: The images.
            use: From the pixels (n, H, W, C) of a batch, perhaps an empty one, to rows
                (n, D). The lanes call it, and the pixels are overwritten later.

        Yields:
            A chunk of the items, in their order; the rows of those that could be read;
            and for each of them None, or why it could not be read.

        Raises:
            RuntimeError: A worker was killed.
        """
        rest = iter(items)
        pending: deque[tuple[list[Item], int, Future[tuple[Rows, Reasons, float]]]]
        pending = deque()
        free = deque(range(self._slots(self.workers)))
        while True:
            while free and (chunk := list(islice(rest, self.chunk))):
                slot = free.popleft()
                decoded = self._decode(chunk, slot) if self.workers else None
                run = self._threads.submit(self._use, chunk, slot, decoded, use)
                pending.append((chunk, slot, run))
            if not pending:
                return
            chunk, slot, run = pending.popleft()
            rows, reasons, waited = run.result()
            self.waited += waited / self.lanes
            free.append(slot)
            if self._starving():
                free.extend(self._grow())
            yield chunk, rows, reasons

    def _slots(self, workers: int) -> int:
        """Number of chunks that are at hand at once."""
        return AHEAD * workers + self.lanes

    def _start(self) -> None:
        self._pool = ProcessPoolExecutor(
            self.workers, initializer=begin, initargs=(os.getpid(),)
        )
        self._closing.callback(self._pool.shutdown, wait=True, kill_workers=True)
        self._since = perf_counter(), self.waited

    def _starving(self) -> bool:
        """Whether more workers may be there, and are needed."""
        if self.workers == self._most:
            return False
        now, (since, before) = perf_counter(), self._since
        if now - since < PATIENCE:
            return False
        self._since = now, self.waited
        return self.waited - before > STARVED * (now - since)

    def _grow(self) -> range:
        """Start as many workers as may be, and return the slots that they add."""
        added = range(self._slots(self.workers), self._slots(self._most))
        self._pool.shutdown(wait=False)  # it ends once it has done what it was given
        self.workers = self._most
        self._start()
        return added

    def _decode(self, chunk: list[Item], slot: int) -> "Future[Reasons]":
        arguments = (
            self._file.path,
            self._shape,
            slot,
            [item.place for item in chunk],
            self.image_size,
            self.channels,
            self.draft,
        )
        try:
            decoded: Future[Reasons] = self._pool.submit(decode_into_slot, *arguments)
        except TerminatedWorkerError as error:
            # A worker died at an earlier chunk. Those tell first, in their order.
            decoded = Future()
            decoded.set_exception(error)
        return decoded

    def _use(
        self,
        chunk: list[Item],
        slot: int,
        decoded: "Future[Reasons] | None",
        use: Callable[[UInt8Array], Rows],
    ) -> tuple[Rows, Reasons, float]:
        """In a lane: wait for the pixels, and use them; the seconds waited, too."""
        started = perf_counter()
        pixels = self._ring[slot]
        if decoded is None:
            places = [item.place for item in chunk]
            reasons = decode_into(
                pixels, places, self.image_size, self.channels, self.draft
            )
        else:
            try:
                reasons = decoded.result()
            except TerminatedWorkerError as error:
                raise RuntimeError(
                    "a process that decodes images was killed, perhaps for want of "
                    f"memory, at one of {chunk[0].key} ... {chunk[-1].key}; try fewer "
                    "workers"
                ) from error
        waited = perf_counter() - started
        readable = pixels[: len(chunk)]
        if any(reasons):
            readable = readable[[reason is None for reason in reasons]]
        starts = range(0, max(1, len(readable)), self.batch_size)
        rows = [use(readable[start : start + self.batch_size]) for start in starts]
        return np.concatenate(rows), reasons, waited


def chunk_images(image_size: ImageSize, channels: int, batch_size: int) -> int:
    """Number of images that are decoded and used at a time: several batches."""
    height, width = sides(image_size)
    images = min(CHUNK_IMAGES, CHUNK_BYTES // (height * width * channels))
    return max(1, images // batch_size) * batch_size


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_workers(images: int) -> int:
    """One for each core; none for few images."""
    return cores() if images >= WORTH_WORKERS else 0
