"""Train a recipe and leave a run folder: what `rkdo train` does."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from rkdo_plugin.batch_labels import BatchLabels
from rkdo_plugin.options import check_choice, check_count
from rkdo_plugin.plugins.create import host
from rkdo_plugin.recipes.data.images import ImageData, load_data
from rkdo_plugin.recipes.training.checkpointing import (
    RunCheckpoint,
    TrainingStopped,
    stop_on_ctrl_c,
)
from rkdo_plugin.recipes.training.health import TrainingHealth
from rkdo_plugin.recipes.training.knn import OnlineKNN, project
from rkdo_plugin.recipes.training.loader import seed_generators
from rkdo_plugin.recipes.training.logs import open_loggers, quiet_lightning
from rkdo_plugin.recipes.training.run_folder import (
    CHECKPOINT,
    open_run_folder,
    read_checkpoint,
)
from rkdo_plugin.recipes.training.samples import open_loader

ENCODER = "small-convnet"  # of a recipe that has no encoder of its own


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        folder: Holds last.ckpt, config.yaml, metrics.csv and a TensorBoard log.
        checkpoint: The Lightning checkpoint.
        recipe: The trained recipe, in training mode; `recipe.backbone` is the encoder.
        data: What it was trained on.
    """

    folder: Path
    checkpoint: Path
    recipe: pl.LightningModule
    data: ImageData


def train(
    recipe: str = "simclr",
    loss: str | None = None,
    data: str = "digits",
    *,
    out: str,
    loss_options: dict[str, Any] | None = None,
    recipe_options: dict[str, Any] | None = None,
    encoder: str | None = None,
    epochs: int = 10,
    batch_size: int = 256,
    limit: int | None = None,
    image_size: int | None = None,
    seed: int = 0,
    root: str | None = None,
    workers: int = 2,
    resume: bool = False,
    progress: bool = True,
    field: str | None = None,
    field_options: dict[str, Any] | None = None,
    augment: str = "images",
    precision: str = "32-true",
    accumulate: int = 1,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    sync_batchnorm: bool = False,
    checkpoint_every: int | None = None,
    knn_every: int | None = None,
    projector: bool = False,
    callbacks: Sequence[pl.Callback] = (),
) -> Run:
    """Train a recipe; the same settings give the same weights, interrupted or not.

    Args:
        recipe: A registered recipe, for example "simclr" or "byol".
        loss: A registered loss; the recipe's own when not given.
        data: A data set's name, or a folder of images.
        out: Folder for last.ckpt, config.yaml, metrics.csv and the TensorBoard log.
        loss_options: Arguments of the loss, for example {"temperature": 0.2}.
        recipe_options: Further arguments of the recipe, for example {"clusters": 20}.
        encoder: A registered encoder; the recipe's own when not given.
        epochs: Number of passes over the training images.
        batch_size: Images in memory at a time, over all processes; an incomplete last
            batch is dropped.
        limit: Train on the first so many images only.
        image_size: Height and width in pixels that the encoder reads, when it is not
            the data's own.
        seed: Seed of the weights, the order and the augmentation.
        root: Folder that holds the data sets.
        workers: Processes that augment images; the result does not depend on it.
        resume: Continue the run in `out` where it stopped; the settings must be its
            own.
        progress: Show a progress bar.
        field: Start of a response field that draws partners: "one-hot", "pixels",
            "pca", "hog", or the path of a model or of features; the recipe's own when
            not given, which is none but for "cluster".
        field_options: Options of `open_field`, for example {"coupling": 0.1}.
        augment: "images": Lightly's transforms, an image at a time in the workers;
            "batches": the same on tensors, a batch at a time on the training device.
        precision: Lightning's, for example "bf16-mixed" or "16-mixed".
        accumulate: Batches whose gradients an optimizer step takes.
        devices: Processes on this machine, one a device.
        num_nodes: Machines.
        strategy: Lightning's, for example "ddp".
        sync_batchnorm: Batch norm over all processes, on GPUs.
        checkpoint_every: Save after every so many optimizer steps, not only epochs.
        knn_every: Log the nearest neighbours' accuracy after every so many epochs.
        projector: Fill TensorBoard's embedding projector at the end.
        callbacks: Further Lightning callbacks.

    Raises:
        FileExistsError: `out` is not empty and `resume` is not set.
        FileNotFoundError: The data, or a run to resume, is not there.
        KeyboardInterrupt: Ctrl-C; the checkpoint was written after the current step.
        ValueError: An unknown name, a batch larger than the data, a setting that
            differs from the resumed run's, or a truncated checkpoint.
    """
    check_choice("augment", augment, ("images", "batches"))
    processes = _processes(devices, num_nodes, batch_size, accumulate)
    if sync_batchnorm and not torch.cuda.is_available():
        raise ValueError("Expected GPUs with sync_batchnorm but got none")
    folder = Path(out)
    images = load_data(data, root=root, limit=limit, image_size=image_size)
    seed_generators(seed)
    factory = host().factory("recipe", recipe)
    if encoder is None:
        encoder = _own_encoder(factory)
    own: dict[str, Any] = {
        "num_classes": images.num_classes,
        "num_samples": len(images.train),
    }
    parameters = inspect.signature(factory).parameters
    options = {name: value for name, value in own.items() if name in parameters}
    if loss is not None:
        options["loss"] = loss
    gathered = {} if processes == 1 else _gathered(loss or parameters["loss"].default)
    module: Any = factory(
        encoder=encoder,
        loss_options={**(loss_options or {}), **gathered} or None,
        in_channels=images.channels,
        image_size=images.image_size,
        **options,
        **(recipe_options or {}),
    )
    resumed = resume and (folder / CHECKPOINT).is_file()
    loader, field_callbacks = open_loader(
        module,
        images,
        batch_size,
        seed,
        workers,
        whole_batches=augment == "batches",
        field=field,
        field_options={"epochs": epochs, **(field_options or {})},
        resumed=resumed,
    )
    callbacks = [*callbacks, *field_callbacks]
    if knn_every is not None:
        callbacks = [*callbacks, OnlineKNN(images, knn_every)]
    saver = RunCheckpoint(
        folder / CHECKPOINT,
        {
            "recipe": recipe,
            "encoder": getattr(module, "exported_encoder", encoder),
            "normalize": getattr(module, "normalize", True),
            "in_channels": images.channels,
            "image_size": images.image_size,
            "mean": list(images.mean),
            "std": list(images.std),
            "data": data,
            "limit": limit,
        },
        loader,
        checkpoint_every,
    )
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="auto",
            devices=devices,
            num_nodes=num_nodes,
            strategy=strategy,
            precision=precision,  # type: ignore[arg-type]
            accumulate_grad_batches=accumulate,
            sync_batchnorm=sync_batchnorm,
            use_distributed_sampler=False,  # the loader shares batches out
            max_epochs=epochs,
            callbacks=[BatchLabels(), *callbacks, TrainingHealth(), saver],
            logger=False,
            log_every_n_steps=min(10, len(loader)),
            deterministic="warn",
            enable_model_summary=False,
            enable_progress_bar=progress,
        )
    first = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if first:
        open_run_folder(
            folder,
            {
                "recipe": recipe,
                "loss": loss,
                "data": data,
                "loss_options": loss_options,
                "recipe_options": recipe_options,
                "encoder": encoder,
                "epochs": epochs,
                "batch_size": batch_size,
                "limit": limit,
                "image_size": image_size,
                "seed": seed,
                "field": field,
                "field_options": field_options,
                "augment": augment,
                "precision": precision,
                "accumulate": accumulate,
            },
            resume,
        )
    saved = read_checkpoint(folder / CHECKPOINT) if resumed else None
    if first:
        trainer.loggers = open_loggers(
            folder, 0 if saved is None else saved["global_step"]
        )
    if saved is not None:
        # Lightning restores the loader too, but too late where a recipe asked for
        # `estimated_stepping_batches`: the first epoch has then begun.
        # Before there was a field, checkpoints held the number of the step only.
        loader.load_state_dict(saved.get("loader", {"step": saved["global_step"]}))
    steps_done = loader.batches.step
    if steps_done >= epochs * len(loader):
        warnings.warn(f"the run in {folder} is finished already", stacklevel=2)
    with stop_on_ctrl_c(saver), _half_the_threads(), quiet_lightning():
        try:
            trainer.fit(module, loader, ckpt_path=None if saved is None else saver.path)
        except SystemExit as stop:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt("stopped within a step; nothing saved") from stop
        except TrainingStopped:
            raise KeyboardInterrupt(
                f"stopped after step {loader.batches.step} of "
                f"{epochs * len(loader)}; {saver.path} is complete, resume continues it"
            ) from None
        if projector and trainer.is_global_zero:
            project(module, images)
    return Run(folder, saver.path, module, images)


def _own_encoder(recipe: Callable[..., Any]) -> str:
    """The encoder that a recipe takes when it is told none."""
    parameter = inspect.signature(recipe).parameters.get("encoder")
    own = None if parameter is None else parameter.default
    return own if isinstance(own, str) else ENCODER


def _processes(devices: int, num_nodes: int, batch_size: int, accumulate: int) -> int:
    for name, value in {
        "devices": devices,
        "num_nodes": num_nodes,
        "accumulate": accumulate,
    }.items():
        check_count(name, value)
    processes = devices * num_nodes
    if batch_size % processes:
        raise ValueError(
            f"Expected `batch_size` to be a multiple of the {processes} processes but "
            f"got {batch_size}"
        )
    return processes


def _gathered(loss: str) -> dict[str, Any]:
    """In a distributed run, losses that can compare with all processes do."""
    parameters = inspect.signature(host().factory("loss", loss)).parameters
    return {"gather_distributed": True} if "gather_distributed" in parameters else {}


@contextmanager
def _half_the_threads() -> Iterator[None]:
    """Leave cores to the loader's workers.

    A thread that waits for a core which a worker holds stalls every operation: two
    threads and two workers on two cores take ten times as long as one thread.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
