"""How far a run is: a bar on a terminal, lines in a file."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from rkdo_plugin.recipes.training.loader import ShuffledBatches

LINES = 10  # of a run, at least, where there is no terminal


class Progress(pl.Callback):
    """Says the epoch, the loss, the images a second and the time left, on stderr.

    On a terminal that is one bar over the whole run. Elsewhere it is a line after every
    epoch, and further lines within the epochs of a run that has few of them. A value
    that is logged with `prog_bar=True` is shown beside the loss.

    Args:
        batches: The run's batches, which know the position, after resuming too.
        epochs: Number of epochs of the whole run.
    """

    def __init__(self, batches: ShuffledBatches, epochs: int) -> None:
        self.batches = batches
        self.epochs = epochs
        self.total = epochs * len(batches)
        self._bar: tqdm[Any] | None = None
        self._clock = (0, 0.0)  # step and time of the last line

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Open the bar, or start the clock, in the first process only."""
        if not trainer.is_global_zero:
            return
        size, step = self.batches.batch_size, self.batches.step
        self._clock = step, time.perf_counter()
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=self.total * size,
                initial=step * size,
                unit=" images",
                unit_scale=True,
                dynamic_ncols=True,
                desc=f"epoch {step // len(self.batches) + 1}/{self.epochs}",
            )

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar; in a run of few epochs, print lines within them."""
        if self._bar is not None:
            # Values wait on the device: they are read only if the bar is drawn.
            if self._bar.update(self.batches.batch_size):
                self._bar.set_description(self._state(trainer), refresh=False)
        elif trainer.is_global_zero and not trainer.is_last_batch:
            every = -(-self.total // LINES)
            if self.batches.step % len(self.batches) % every == 0:
                self._print_line(trainer)

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Show what was logged for the epoch."""
        if self._bar is not None:
            self._bar.set_description(self._state(trainer))
        elif trainer.is_global_zero:
            self._print_line(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the bar as it is."""
        self._close()

    def on_exception(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        exception: BaseException,
    ) -> None:
        """Leave the bar as it is: an error starts on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _state(self, trainer: pl.Trainer) -> str:
        """The epoch and what is logged: "epoch 3/10, loss 4.512"."""
        epoch = -(-self.batches.step // len(self.batches))
        logged = trainer.progress_bar_metrics.items()
        values = [
            f"{name.removeprefix('train_')} {value:.4g}" for name, value in logged
        ]
        return ", ".join([f"epoch {epoch}/{self.epochs}", *values])

    def _print_line(self, trainer: pl.Trainer) -> None:
        (step, then), now = self._clock, time.perf_counter()
        self._clock = self.batches.step, now
        pace = (self.batches.step - step) / (now - then)  # steps a second
        left = tqdm.format_interval((self.total - self.batches.step) / pace)
        images = f"{pace * self.batches.batch_size:.0f} images/s"
        state = f"{self._state(trainer)}, step {self.batches.step}/{self.total}"
        print(f"{state}, {images}, {left} left", file=sys.stderr, flush=True)
