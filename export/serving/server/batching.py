"""Run the images of concurrent requests together, in one thread for each encoder."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rkdo_plugin.export.encoder.pictures import UInt8Array

Embeddings = npt.NDArray[np.float32]
Embed = Callable[[UInt8Array], Embeddings]


class QueueFullError(RuntimeError):
    """There is no room for the images of a request at the moment."""


@dataclass(frozen=True)
class Ran:
    """What one batch took.

    Attributes:
        images: Number of images in it.
        waited: Seconds that each of its requests had waited.
        seconds: Seconds that the encoder ran.
    """

    images: int
    waited: tuple[float, ...]
    seconds: float


@dataclass(eq=False)
class _Request:
    images: UInt8Array
    result: "Future[Embeddings]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """A thread that runs an encoder on the images of waiting requests.

    A request is never divided among batches, unless it alone has more images than a
    batch may have.

    Args:
        embed: The encoder: uint8 (B, H, W, C) -> float32 (B, D).
        max_batch: Largest number of images that run at once.
        max_delay: Seconds that a request may wait for others.
        max_queue: Largest number of images that are accepted and not yet answered.
        ran: Is told what each batch took.
    """

    def __init__(
        self,
        embed: Embed,
        *,
        max_batch: int,
        max_delay: float,
        max_queue: int,
        ran: Callable[[Ran], Any] = lambda _: None,
    ) -> None:
        self._embed, self._ran = embed, ran
        self._max_batch, self._max_delay = max_batch, max_delay
        self._max_queue = max_queue
        self._accepted = 0
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._thread.start()

    @contextmanager
    def accepted(self, images: int) -> Iterator[None]:
        """Hold a place for images, from before they are decoded until the answer.

        Raises:
            QueueFullError: There is none.
            ValueError: There never is, as the queue is shorter.
        """
        if images > self._max_queue:
            raise ValueError(
                f"Expected at most {self._max_queue} images in a request but got "
                f"{images}"
            )
        with self._changed:
            if self._accepted + images > self._max_queue:
                raise QueueFullError(
                    f"Expected at most {self._max_queue} images to wait but "
                    f"{self._accepted} do, and {images} came"
                )
            self._accepted += images
        try:
            yield
        finally:
            with self._changed:
                self._accepted -= images

    def submit(self, images: UInt8Array) -> "Future[Embeddings]":
        """Queue images (B, H, W, C) of one request; B is at least 1.

        Returns:
            The future embeddings (B, D). Where it is cancelled in time, the images do
            not run.

        Raises:
            RuntimeError: The batcher is closed.
        """
        request = _Request(images)
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._waiting.append(request)
            self._changed.notify()
        return request.result

    def close(self) -> None:
        """Answer what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            started = time.monotonic()
            running = [r for r in batch if r.result.set_running_or_notify_cancel()]
            if running:
                self._run(running)
                self._ran(
                    Ran(
                        sum(len(request.images) for request in running),
                        tuple(started - request.since for request in running),
                        time.monotonic() - started,
                    )
                )

    def _next(self) -> list[_Request]:
        """The next batch, once it is full or its first request has waited enough."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            until = self._waiting[0].since + self._max_delay
            while True:
                batch, full = self._fitting()
                left = until - time.monotonic()
                if full or left <= 0 or self._closed:
                    break
                self._changed.wait(left)
            for request in batch:
                self._waiting.remove(request)
            return batch

    def _fitting(self) -> tuple[list[_Request], bool]:
        """Requests that run together, and whether there is no room for another."""
        first, *others = self._waiting
        batch, images = [first], len(first.images)
        for request in others:
            if images >= self._max_batch:
                break
            # Encoders for images of any size take images of one size at a time.
            if request.images.shape[1:] != first.images.shape[1:]:
                continue
            if images + len(request.images) > self._max_batch:
                return batch, True
            batch.append(request)
            images += len(request.images)
        return batch, images >= self._max_batch

    def _run(self, batch: list[_Request]) -> None:
        try:
            together = np.concatenate([request.images for request in batch])
            parts = [
                self._embed(together[start : start + self._max_batch])
                for start in range(0, len(together), self._max_batch)
            ]
            embeddings = np.concatenate(parts)
        except Exception as error:  # whatever it is, the thread has to go on
            if len(batch) == 1:
                batch[0].result.set_exception(error)
                return
            for request in batch:  # one of them may be at fault, such as for its size
                self._run([request])
            return
        ends = np.cumsum([len(request.images) for request in batch])[:-1]
        for request, part in zip(batch, np.split(embeddings, ends), strict=True):
            request.result.set_result(part)
