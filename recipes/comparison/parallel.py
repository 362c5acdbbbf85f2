"""Many runs at once, in processes of their own."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from rkdo_plugin.recipes.comparison.results import Row

Planned = TypeVar("Planned")
Images = TypeVar("Images")

_images: Any  # of a process that runs


class Runner(Generic[Planned, Images]):
    """Runs what is planned; one at a time in this process, or several in others.

    Args:
        attempt: Runs one on the images, and returns {"error": reason} where it fails.
        images: Held images, which a process gets once.
        jobs: Number of runs at once.
    """

    def __init__(
        self, attempt: Callable[[Planned, Images], Row], images: Images, jobs: int
    ) -> None:
        self._attempt = attempt
        self._images = images
        self._processes = [_Process(images) for _ in range(jobs)] if jobs > 1 else []

    def __enter__(self) -> "Runner[Planned, Images]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.end()

    def run(self, planned: Sequence[Planned]) -> Iterator[tuple[Planned, Row]]:
        """Each run with its row, as soon as it is there; they start in their order."""
        if not self._processes:
            for each in planned:
                yield each, self._attempt(each, self._images)
            return
        free: SimpleQueue[_Process] = SimpleQueue()
        for process in self._processes:
            free.put(process)

        def run_one(each: Planned) -> Row:
            process = free.get()
            try:
                return process.run(self._attempt, each)
            finally:
                free.put(process)

        threads = ThreadPoolExecutor(len(self._processes))
        try:
            futures = {threads.submit(run_one, each): each for each in planned}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


class _Process:
    """A process that runs one after the other. If it dies, the next has a new one."""

    def __init__(self, images: Any) -> None:
        self._images = images
        self._executor: ProcessPoolExecutor | None = None

    def run(self, attempt: Callable[[Any, Any], Row], planned: Any) -> Row:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                1, initializer=_begin, initargs=(self._images,)
            )
        try:
            row: Row = self._executor.submit(_run_one, attempt, planned).result()
            return row
        except TerminatedWorkerError:
            self.end()
            return {"error": "the process died, perhaps for want of memory"}

    def end(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(kill_workers=True)


def _begin(images: Any) -> None:
    global _images
    _images = images
    # Ctrl-C reaches every process of the terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run_one(attempt: Callable[[Any, Any], Row], planned: Any) -> Row:
    return attempt(planned, _images)
