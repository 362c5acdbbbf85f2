"""One run of a comparison: train, score, and say how long a step took."""

import time
import warnings
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

    The layout of the network in memory has channels last, which is faster on a CPU.

    Attributes:
        seconds: Of each step but the first of an epoch.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lay the network out."""
        pl_module.to(memory_format=torch.channels_last)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Read the clock."""
        now = time.perf_counter()
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
        done = train(planned.settings, folder, execution, data=data, callbacks=[clock])
        value = score(done.recipe.frozen(done.data).embed, done.data)
    return {"score": value, "steps": done.steps, "seconds": median(clock.seconds)}


def attempt(planned: Planned, images: ImageData) -> Row:
    """The row of a run, or {"error": reason} of one that did not come to its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return run(planned, images)
        except Exception as error:  # the other runs go on, and the table says why
            return {"error": f"{type(error).__name__}: {error}"}
