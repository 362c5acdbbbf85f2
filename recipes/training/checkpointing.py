"""The callback that writes a run's checkpoint, also when Ctrl-C stops it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from rkdo_plugin.options import check_count
from rkdo_plugin.publish import Growing, growing
from rkdo_plugin.recipes.evaluation.run_folder import Record
from rkdo_plugin.recipes.training.loader import StepLoader


class TrainingStopped(Exception):  # noqa: N818 - a request, not an error
    """Training ended at a step boundary because the user asked for it."""


class WholeFile(TorchCheckpointIO):
    """Writes a run's checkpoint, which appears whole when it is told to.

    On most file systems of Linux it has no name until then, so that a process that is
    killed leaves no part of it.

    Args:
        path: The run's checkpoint. Other checkpoints are written as Lightning does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = ExitStack()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint to the disk."""
        if Path(path) != self.path:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        with ExitStack() as writing:
            file = writing.enter_context(growing(self.path, overwrite=True))
            _save(checkpoint, file)
            self._writing = writing.pop_all()

    def appear(self) -> None:
        """Replace the older checkpoint by the one that was written, if one was."""
        self._writing.close()

    def forget(self, error: BaseException) -> None:
        """Keep the older checkpoint."""
        self._writing.__exit__(type(error), error, None)


class RunCheckpoint(pl.callbacks.Checkpoint):
    """Saves after every epoch, and after the current step on Ctrl-C.

    The first Ctrl-C lets the step finish, saves and stops; a second one interrupts at
    once, and leaves the checkpoint of the last epoch.

    A checkpoint is written between two steps. It appears when Lightning has logged the
    values of the step or the epoch, so that a run that goes on from it lacks none.

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
        self.file = WholeFile(path)
        self.record = record
        self.loader = loader
        self.steps = loader.batches.step  # that are done
        self.stop_requested = False
        self.stopping = False

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
        every = self.every is not None and trainer.global_step % self.every == 0
        if self.stop_requested or every:
            self._write(trainer)

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Save, as the last callback of the epoch."""
        self._write(trainer)

    def on_train_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Let a checkpoint appear, and stop, before the next step."""
        self._go_on()

    def on_train_epoch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Let a checkpoint appear, and stop, between two epochs."""
        self._go_on()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the last checkpoint appear, and stop."""
        self._go_on()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, error: BaseException
    ) -> None:
        """Keep the older checkpoint where the values could not be logged."""
        self.file.forget(error)

    def _write(self, trainer: pl.Trainer) -> None:
        self.steps, self.stopping = self.loader.batches.step, self.stop_requested
        trainer.save_checkpoint(self.path, weights_only=False)

    def _go_on(self) -> None:
        self.file.appear()
        if self.stopping:
            raise TrainingStopped


def _save(checkpoint: dict[str, Any], file: Growing) -> None:
    try:
        torch.save(checkpoint, cast(IO[bytes], file))
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch hides what the disk said
            raise error.__context__ from None
        raise


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
