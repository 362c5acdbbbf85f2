"""One run of a comparison: train, score, and say how long a step took."""

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
import torch

from rkdo_plugin.recipes.comparison.images import kept_back
from rkdo_plugin.recipes.comparison.results import RESULT, Planned, Row
from rkdo_plugin.recipes.comparison.scoring import score
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.training.settings import Execution
from rkdo_plugin.recipes.training.train import train


class StepClock(pl.Callback):
    """Times the steps of a training, from the end of one to the end of the next.

    On a CPU that is the time of the processor, which other processes disturb little; on
    a GPU, time by the clock.

    Attributes:
        seconds: Of each step but the first of an epoch.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any
    ) -> None:
        """Read the clock."""
        on_cpu = pl_module.device.type == "cpu"
        now = time.process_time() if on_cpu else time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = None if trainer.is_last_batch else now


def run(planned: Planned, images: ImageData) -> Row:
    """Train to the end and score: "score", "steps", "seconds" a step.

    Args:
        planned: The run.
        images: Held images. The tuning sees the training images alone.

    Raises:
        Exception: Whatever the training raises.
    """
    data = images if planned.purpose == RESULT else kept_back(images)
    clock = StepClock()
    with TemporaryDirectory() as folder:
        execution = Execution(workers=0, progress=False)
        done = train(
            planned.settings, folder, execution, images=data, callbacks=[clock]
        )
        value = score(done.recipe.frozen(done.data).embed, done.data)
    seconds = median(clock.seconds) if clock.seconds else None
    return {"score": value, "steps": done.steps, "seconds": seconds}


def attempt(planned: Planned, images: ImageData) -> Row:
    """The row of a run, or {"error": reason} of one that did not come to its end."""
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run(planned, images)
        except Exception as error:  # the other runs go on, and the table says why
            return {"error": f"{type(error).__name__}: {error}"}


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that a result does not depend on the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
