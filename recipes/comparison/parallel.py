"""Many runs at once, in processes of one thread each."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from loky import ProcessPoolExecutor
from loky.process_executor import TerminatedWorkerError

from rkdo_plugin.recipes.comparison.results import Planned, Row

if TYPE_CHECKING:
    from rkdo_plugin.recipes.data.images import ImageData

Attempt = Callable[[Planned, "ImageData"], Row]

_images: "ImageData"  # of a process that runs


class Runner:
    """Runs what is planned; one at a time in this process, or several in others.

    Args:
        attempt: Runs one, and says why where it fails.
        images: Held images.
        jobs: Number of runs at once.
    """

    def __init__(self, attempt: Attempt, images: "ImageData", jobs: int) -> None:
        self._attempt = attempt
        self._images = images
        self._processes = [_Process(images) for _ in range(jobs)] if jobs > 1 else []

    def __enter__(self) -> "Runner":
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

    def __init__(self, images: "ImageData") -> None:
        self._images = images
        self._executor: ProcessPoolExecutor | None = None

    def run(self, attempt: Attempt, planned: Planned) -> Row:
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


def _begin(images: "ImageData") -> None:
    global _images
    _images = images


def _run_one(attempt: Attempt, planned: Planned) -> Row:
    return attempt(planned, _images)
