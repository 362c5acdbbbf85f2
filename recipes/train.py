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

from rkdo_plugin.batch_labels import BatchLabels
from rkdo_plugin.field import FieldPairs
from rkdo_plugin.plugins import host
from rkdo_plugin.recipes.checkpointing import (
    RunCheckpoint,
    TrainingStopped,
    stop_on_ctrl_c,
)
from rkdo_plugin.recipes.data import ImageData, LabelledImages, load_data
from rkdo_plugin.recipes.encoders import feature_dim
from rkdo_plugin.recipes.loader import StepLoader, seed_generators
from rkdo_plugin.recipes.logs import open_loggers, quiet_lightning
from rkdo_plugin.recipes.plain_view import plain_view
from rkdo_plugin.recipes.response_field import ONE_HOT, open_field
from rkdo_plugin.recipes.run_folder import (
    CHECKPOINT,
    open_run_folder,
    read_checkpoint,
)
from rkdo_plugin.recipes.transforms import Views, two_views

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


class TwoViews(torch.utils.data.Dataset[tuple[Any, int]]):
    """Labelled images as Lightly's recipes read them: (views, label)."""

    def __init__(self, images: LabelledImages, views: Views) -> None:
        self.images = images
        self.views = views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.images[index]
        return self.views(image), label


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
        batch_size: Images a step; an incomplete last batch is dropped.
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
        callbacks: Further Lightning callbacks.

    Raises:
        FileExistsError: `out` is not empty and `resume` is not set.
        FileNotFoundError: The data, or a run to resume, is not there.
        KeyboardInterrupt: Ctrl-C; the checkpoint was written after the current step.
        ValueError: An unknown name, a batch larger than the data, a setting that
            differs from the resumed run's, or a truncated checkpoint.
    """
    folder = Path(out)
    images = load_data(data, root=root, limit=limit, image_size=image_size)
    seed_generators(seed)
    factory = host().factory("recipe", recipe)
    if encoder is None:
        encoder = _own_encoder(factory)
    options = {} if loss is None else {"loss": loss}
    module: pl.LightningModule = factory(
        encoder=encoder,
        loss_options=loss_options,
        in_channels=images.channels,
        image_size=images.image_size,
        **options,
        **(recipe_options or {}),
    )
    fixed_field = getattr(module, "fixed_field", None)
    if fixed_field is not None:
        _check_fixed_field(recipe, field, field_options or {})
        field = field or fixed_field
    resumed = resume and (folder / CHECKPOINT).is_file()
    augmented = getattr(module, "augmented", True)
    views = two_views(images) if augmented else plain_view(images)
    samples: Any = TwoViews(images.train, views)
    response_field = None
    if field is not None:
        field_callback = open_field(
            field,
            images,
            feature_dim(module, images.channels, images.image_size),
            epochs,
            initialize=fixed_field is not None or not resumed,
            **(field_options or {}),
        )
        if fixed_field is None:
            callbacks = [*callbacks, field_callback]
        response_field = field_callback.field
        samples = FieldPairs(images.train, views, response_field)
    loader = StepLoader(samples, batch_size, seed, workers, response_field)
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
        },
        resume,
    )
    saved = read_checkpoint(folder / CHECKPOINT) if resumed else None
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
        trainer = pl.Trainer(
            accelerator="auto",
            devices=1,
            max_epochs=epochs,
            callbacks=[BatchLabels(), *callbacks, saver],
            logger=open_loggers(folder, steps_done),
            log_every_n_steps=min(10, len(loader)),
            deterministic="warn",
            enable_model_summary=False,
            enable_progress_bar=progress,
        )
        try:
            trainer.fit(module, loader, ckpt_path=None if saved is None else saver.path)
        except SystemExit as stop:  # Lightning's answer to a second Ctrl-C
            raise KeyboardInterrupt("stopped within a step; nothing saved") from stop
        except TrainingStopped:
            raise KeyboardInterrupt(
                f"stopped after step {trainer.global_step} of "
                f"{epochs * len(loader)}; {saver.path} is complete, resume continues it"
            ) from None
    return Run(folder, saver.path, module, images)


def _own_encoder(recipe: Callable[..., Any]) -> str:
    """The encoder that a recipe takes when it is told none."""
    parameter = inspect.signature(recipe).parameters.get("encoder")
    own = None if parameter is None else parameter.default
    return own if isinstance(own, str) else ENCODER


def _check_fixed_field(
    recipe: str, field: str | None, field_options: dict[str, Any]
) -> None:
    coupling = field_options.get("coupling") or field_options.get("final_coupling")
    if field == ONE_HOT or coupling:
        got = f"--field {ONE_HOT}" if field == ONE_HOT else f"a coupling of {coupling}"
        raise ValueError(
            f"Expected a field of neighbours, which stays as it is with {recipe}, but "
            f"got {got}"
        )


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
