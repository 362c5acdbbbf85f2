"""The callback that writes a run's checkpoint, also when Ctrl-C stops it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from rkdo_plugin.options import check_count
from rkdo_plugin.publish import publish
from rkdo_plugin.recipes.evaluation.run_folder import Record
from rkdo_plugin.recipes.training.loader import StepLoader


class TrainingStopped(Exception):  # noqa: N818 - a request, not an error
    """Training ended at a step boundary because the user asked for it."""


class RunCheckpoint(pl.callbacks.Checkpoint):
    """Saves after every epoch, and after the current step on Ctrl-C.

    The first Ctrl-C lets the step finish, saves and stops; a second one interrupts at
    once, and leaves the checkpoint of the last epoch.

    Args:
        path: The checkpoint file; it is replaced whole.
        record: Stored under "rkdo": what the export needs to know.
        loader: Its position is stored under "loader".
        every: Save after every `every` optimizer steps, too.
    """

    def __init__(
        self,
        path: Path,
        record: Record,
        loader: StepLoader,
        every: int | None = None,
    ) -> None:
        if every is not None:
            check_count("checkpoint_every", every)
        self.every = every
        self.path = path
        self.record = record
        self.loader = loader
        self.stop_requested = False
        self.stop_after_epoch = False

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Signal handler: stop after the current step."""
        self.stop_requested = True
        signal.signal(signum, signal.default_int_handler)

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        checkpoint: dict[str, Any],
    ) -> None:
        """Add what an exported encoder, and a resumed run, must know."""
        checkpoint["rkdo"] = self.record
        checkpoint["loader"] = self.loader.state_dict()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save, and stop, between two steps; not after an epoch's last step.

        The end of the epoch saves and stops there. In a distributed run all processes
        stop as soon as one of them is asked to.
        """
        if trainer.world_size > 1:
            self.stop_requested = trainer.strategy.reduce_boolean_decision(
                self.stop_requested, all=False
            )
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not stepped or trainer.is_last_batch:
            return
        if self.stop_requested:
            self._save(trainer)
            raise TrainingStopped
        if self.every is not None and trainer.global_step % self.every == 0:
            self._save(trainer)

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Save, as the last callback of the epoch."""
        self._save(trainer)
        # Lightning still has to log the epoch's values.
        self.stop_after_epoch = self.stop_requested

    def on_train_epoch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Stop between two epochs."""
        if self.stop_after_epoch:
            raise TrainingStopped

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop after the last epoch."""
        if self.stop_after_epoch:
            raise TrainingStopped

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.is_global_zero:
            with publish(self.path, overwrite=True) as temporary:
                trainer.save_checkpoint(temporary, weights_only=False)
        else:  # takes part, and writes nothing
            trainer.save_checkpoint(self.path, weights_only=False)


@contextmanager
def stop_on_ctrl_c(saver: RunCheckpoint) -> Iterator[None]:
    """Let Ctrl-C stop between two steps; only the main thread may ask for signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, saver.request_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
