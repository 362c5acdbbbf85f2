"""Train a recipe and leave a run folder: what `rkdo train` does."""

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from rkdo_plugin.alone import alone
from rkdo_plugin.export.encoder.image_size import optional_image_size
from rkdo_plugin.publish import remove_drafts
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.run_folder import (
    CHECKPOINT,
    CONFIG,
    check_run_folder,
    create_run_folder,
    read_run,
)
from rkdo_plugin.recipes.training.batches import open_loader
from rkdo_plugin.recipes.training.checkpointing import (
    RunCheckpoint,
    TrainingStopped,
    stop_on_ctrl_c,
)
from rkdo_plugin.recipes.training.health import TrainingHealth
from rkdo_plugin.recipes.training.knn import OnlineKNN
from rkdo_plugin.recipes.training.loader import StepLoader, seed_generators
from rkdo_plugin.recipes.training.logs import METRICS, open_loggers, quiet_lightning
from rkdo_plugin.recipes.training.progress import Progress
from rkdo_plugin.recipes.training.projector import project
from rkdo_plugin.recipes.training.recipe import recipe_of, record_of
from rkdo_plugin.recipes.training.settings import Execution, RunSettings


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        folder: Holds last.ckpt, config.yaml, metrics.csv and a TensorBoard log.
        checkpoint: The Lightning checkpoint.
        recipe: The trained recipe, in training mode; `recipe.backbone` is the encoder.
        data: What it was trained on.
        steps: Number of batches trained on since it was started or resumed; 0 if it was
            finished already.
    """

    folder: Path
    checkpoint: Path
    recipe: Recipe
    data: ImageData
    steps: int


def train(
    settings: RunSettings,
    out: str | Path,
    execution: Execution | None = None,
    *,
    images: ImageData | None = None,
    resume: bool = False,
    callbacks: Sequence[pl.Callback] = (),
) -> Run:
    """Train a recipe. The same settings give the same weights, interrupted or not.

    Args:
        settings: All that decides the result.
        out: Folder for last.ckpt, config.yaml, metrics.csv and the TensorBoard log.
        execution: How the run is computed.
        images: The data, if it is loaded already; else the settings name it.
        resume: Continue the run in `out` where it stopped; the settings must be its
            own.
        callbacks: Further Lightning callbacks.

    Raises:
        BlockingIOError: Another process trains this run.
        FileExistsError: `out` is not empty and `resume` is not set.
        FileNotFoundError: The data, the weights, or a run to resume, is not there.
        KeyboardInterrupt: Ctrl-C; the checkpoint was written after the current step.
        RuntimeError: A process that loads images was killed.
        ValueError: An unknown name, a batch larger than the data, a setting that
            differs from the resumed run's, or a truncated checkpoint.
    """
    with ExitStack() as held:
        return _train(settings, Path(out), execution, images, resume, callbacks, held)


def _train(
    settings: RunSettings,
    out: Path,
    execution: Execution | None,
    images: ImageData | None,
    resume: bool,
    callbacks: Sequence[pl.Callback],
    held: ExitStack,
) -> Run:
    execution = Execution() if execution is None else execution
    _check_processes(settings, execution)
    checkpoint = out / CHECKPOINT
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if first:
        check_run_folder(out, settings.as_config(), resume)
        if resume:
            _hold(out, held)
    if images is None:
        images = load_data(
            settings.data,
            root=execution.root,
            limit=settings.limit,
            seed=settings.seed,
            image_size=optional_image_size(settings.image_size),
        )
    _check_batch(settings.batch_size, images)
    resumed = resume and checkpoint.is_file()
    saved = read_run(checkpoint) if resumed else None
    seed_generators(settings.seed)
    recipe = recipe_of(settings, images, execution.processes, resumed=resumed)
    if saved is not None:
        record = saved["rkdo"]
        images = replace(images, mean=tuple(record["mean"]), std=tuple(record["std"]))
    elif recipe.normalization is not None:
        images = replace(images, **recipe.normalization._asdict())
    loader, field_callbacks = open_loader(
        recipe, images, settings, execution.workers, resumed=resumed
    )
    recipe.try_criterion(settings.batch_size // execution.processes)
    callbacks = [*callbacks, *field_callbacks]
    if execution.knn_every is not None:
        callbacks.append(OnlineKNN(images, execution.knn_every))
    callbacks.append(TrainingHealth())
    if execution.progress:
        callbacks.append(Progress(loader.batches, settings.epochs))
    record = record_of(settings, recipe, images)
    saver = RunCheckpoint(checkpoint, record, loader, execution.checkpoint_every)
    trainer = _create_trainer(settings, execution, callbacks, saver)
    if first:
        if not resume:
            create_run_folder(out, settings.as_config())
            _hold(out, held)
        steps_done = 0 if saved is None else saved["global_step"]
        trainer.loggers = open_loggers(out, steps_done)
    if saved is not None:
        # Lightning restores the loader too, but too late where a recipe asked for
        # `estimated_stepping_batches`: the first epoch has then begun.
        # Before there was a field, checkpoints held the number of the step only.
        loader.load_state_dict(saved.get("loader", {"step": saved["global_step"]}))
    first_step = loader.batches.step
    if first_step >= settings.epochs * len(loader):
        warnings.warn(f"the run in {out} is finished already", stacklevel=3)
    try:
        _fit(trainer, recipe, loader, saver, resumed)
    except Exception:
        if first and not resume and trainer.global_step == 0:
            shutil.rmtree(out)  # it was new or empty, and the next try may use it
        raise
    if execution.projector and trainer.is_global_zero:
        project(recipe, images)
    steps = loader.batches.step - first_step
    return Run(out, checkpoint, recipe, images, steps)


def _hold(out: Path, held: ExitStack) -> None:
    """Keep other processes from a run, and remove what a killed one left of a file."""
    held.enter_context(alone(out / CONFIG))
    remove_drafts(out, CHECKPOINT, METRICS)


def _create_trainer(
    settings: RunSettings,
    execution: Execution,
    callbacks: list[pl.Callback],
    saver: RunCheckpoint,
) -> pl.Trainer:
    """Lightning's Trainer for a run, whose last callback saves it."""
    with quiet_lightning():
        return pl.Trainer(
            accelerator="auto",
            devices=execution.devices,
            num_nodes=execution.num_nodes,
            strategy=execution.strategy,
            precision=settings.precision,  # type: ignore[arg-type]
            accumulate_grad_batches=settings.accumulate,
            sync_batchnorm=execution.sync_batchnorm,
            use_distributed_sampler=False,  # the loader shares batches out
            max_epochs=settings.epochs,
            callbacks=[*callbacks, saver],
            plugins=saver.file,
            logger=False,
            log_every_n_steps=min(10, len(saver.loader)),
            deterministic="warn",
            enable_model_summary=False,
            enable_progress_bar=False,  # `Progress` has its place
        )


def _fit(
    trainer: pl.Trainer,
    recipe: Recipe,
    loader: StepLoader,
    saver: RunCheckpoint,
    resumed: bool,
) -> None:
    """Train; Lightning's ways to stop become a KeyboardInterrupt with a message."""
    steps = int(trainer.max_epochs or 0) * len(loader)
    with stop_on_ctrl_c(saver), _half_the_threads(), quiet_lightning():
        try:
            trainer.fit(recipe, loader, ckpt_path=saver.path if resumed else None)
        except SystemExit as stop:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt("stopped within a step; nothing saved") from stop
        except TrainingStopped:
            raise KeyboardInterrupt(
                f"stopped after step {saver.steps} of {steps}; {saver.path} is "
                "complete, `resume` continues it"
            ) from None
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker (pid"):
                raise
            raise RuntimeError(
                "a process that loads images was killed, perhaps for want of memory: "
                f"{error}; try fewer `workers`"
            ) from error


def _check_processes(settings: RunSettings, execution: Execution) -> None:
    if settings.batch_size % execution.processes:
        raise ValueError(
            f"Expected `batch_size` to be a multiple of the {execution.processes} "
            f"processes but got {settings.batch_size}"
        )
    if execution.sync_batchnorm and not torch.cuda.is_available():
        raise ValueError("Expected GPUs with sync_batchnorm but got none")


def _check_batch(batch_size: int, images: ImageData) -> None:
    """Refuse a batch that the training images cannot fill, and say which would fit."""
    count, others = len(images.train), len(images.test)
    if batch_size <= count:
        return
    held_out = f" ({others} others are for testing)" if others else ""
    fits = 1 << max(0, (count // 2).bit_length() - 1)  # two batches and more an epoch
    raise ValueError(
        f"Expected `batch_size` to be at most {count}, the number of training images "
        f"in {images.name}{held_out}, but got {batch_size}; `batch_size` {fits} fits"
    )


@contextmanager
def _half_the_threads() -> Iterator[None]:
    """Leave cores to the loader's workers.

    A thread that waits for a core which a worker holds stalls every operation. Two
    threads and two workers on two cores take ten times as long as one thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
