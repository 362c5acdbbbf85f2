"""A complete run on images that are held as arrays: `run_arm`.

    data = load_held("fashion-mnist", limit=10_000)
    scores = run_arm(RunSettings(loss="icon", field="hog", epochs=10), data)

The batches, views and steps are those of `rkdo train --augment batches` with the same
settings. No image is decoded while it trains, nothing is saved, and the network is laid
out in memory with its channels last, which is faster.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from held import HeldBatches, HeldImages, hold, load_held
from numpy.typing import NDArray

from rkdo_plugin import FieldCallback
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim
from rkdo_plugin.recipes.evaluation.accuracy import evaluate
from rkdo_plugin.recipes.field.create import (
    ONE_HOT,
    FieldSettings,
    create_field_callback,
)
from rkdo_plugin.recipes.training.loader import ShuffledBatches, seed_generators
from rkdo_plugin.recipes.training.logs import quiet_lightning
from rkdo_plugin.recipes.training.recipe import recipe_of
from rkdo_plugin.recipes.training.settings import RunSettings

LAYOUT = torch.channels_last  # of the network in memory


class Clock(pl.Callback):
    """Times a training, whatever its callbacks do included.

    Attributes:
        seconds: By the clock on the wall.
        cpu_seconds: Of the processor, which other processes disturb little.
        steps: Number of batches.
    """

    seconds = cpu_seconds = 0.0
    steps = 0

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Start."""
        self.start = self._now(pl_module)

    def on_train_batch_end(self, *args: Any) -> None:
        """Count."""
        self.steps += 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop."""
        now, start = self._now(pl_module), self.start
        self.seconds, self.cpu_seconds = now[0] - start[0], now[1] - start[1]

    def _now(self, module: pl.LightningModule) -> tuple[float, float]:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        return time.perf_counter(), time.process_time()


@dataclass(frozen=True)
class FittedArm:
    """A finished run.

    Attributes:
        recipe: The trained recipe, on its device.
        data: What it was trained on.
        callback: That of its response field; None without a field.
        clock: How long it trained.
        batch_size: B, the number of images in a step.
    """

    recipe: Recipe
    data: ImageData
    callback: FieldCallback | None
    clock: Clock
    batch_size: int

    def scores(self) -> dict[str, Any]:
        """All that a table of runs may want to say; the keys are those of `run_arm`."""
        step = self.clock.seconds / self.clock.steps
        field = {} if self.callback is None else {"trust": self.callback.field.trust}
        return {
            **evaluate(self.recipe.frozen(self.data).embed, self.data),
            "step": step,
            "rate": self.batch_size / step,
            "cpu": self.clock.cpu_seconds,
            "device": name_of(self.recipe.device),
            **field,
        }


def run_arm(
    settings: RunSettings,
    data: ImageData | None = None,
    *,
    features: NDArray[np.floating] | None = None,
    device: str = "cpu",
    callbacks: Sequence[pl.Callback] = (),
) -> dict[str, Any]:
    """Train and evaluate; the arguments and errors are those of `fit_arm`.

    Returns:
        "knn" and "linear", accuracies on the test images; "step", seconds a step, by
        the clock; "rate", training images a second, of which a step makes two views;
        "cpu", processor seconds of the whole training; "device", its name; "trust" in
        the given neighbours, where there is a field.
    """
    return fit_arm(
        settings, data, features=features, device=device, callbacks=callbacks
    ).scores()


def fit_arm(
    settings: RunSettings,
    data: ImageData | None = None,
    *,
    features: NDArray[np.floating] | None = None,
    device: str = "cpu",
    callbacks: Sequence[pl.Callback] = (),
) -> FittedArm:
    """Train.

    Args:
        settings: All that decides the result. Views are always made by batches.
        data: Images for several runs on the same ones, best held already; when not
            given, those that the settings name.
        features: Start the field from these (N, F), in place of what `settings.field`
            names, so that several runs compute them once.
        device: cpu, cuda, or cuda:1 and so on.
        callbacks: Further Lightning callbacks. Their time counts.

    Raises:
        ValueError: The recipe takes no pairs of images, the batch is larger than the
            data, there is no such device, or a setting is out of range.
    """
    if data is None:
        data = load_held(settings.data, limit=settings.limit, seed=settings.seed)
    data = hold(data)
    assert isinstance(data.train, HeldImages)
    if settings.batch_size > len(data.train):
        raise ValueError(
            f"Expected `batch_size` to be at most {len(data.train)}, the number of "
            f"training images, but got {settings.batch_size}"
        )
    place = torch.device(device)
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"Expected a CUDA device for '{device}' but PyTorch finds none"
        )
    seed_generators(settings.seed)
    recipe = recipe_of(settings, data, 1, resumed=False)
    if recipe.labelled is not None or not recipe.updates_field:
        raise ValueError(
            "Expected a recipe that takes pairs of images, such as simclr or byol, but "
            f"got {settings.recipe}"
        )
    recipe.augment = recipe.batched_views(data)
    recipe.to(memory_format=LAYOUT)
    callback = _field_callback(settings, data, recipe, features)
    batches = ShuffledBatches(
        len(data.train),
        settings.batch_size,
        settings.seed,
        None if callback is None else callback.field,
    )
    clock = Clock()
    followed = [] if callback is None else [callback]
    with quiet_lightning():
        pl.Trainer(
            accelerator=place.type,
            devices=[place.index or 0] if place.type == "cuda" else 1,
            precision=settings.precision,  # type: ignore[arg-type]
            accumulate_grad_batches=settings.accumulate,
            benchmark=place.type == "cuda",  # all steps have one shape
            max_epochs=settings.epochs,
            callbacks=[*followed, *callbacks, clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(recipe, HeldBatches(data.train, batches, place))
    recipe.to(place)
    return FittedArm(recipe, data, callback, clock, settings.batch_size)


def _field_callback(
    settings: RunSettings,
    data: ImageData,
    recipe: Recipe,
    features: NDArray[np.floating] | None,
) -> FieldCallback | None:
    """The callback of a run's field, which `rkdo train` would create."""
    with _start(settings.field, features) as start:
        if start is None:
            return None
        return create_field_callback(
            start,
            FieldSettings(**(settings.field_options or {})),
            data,
            feature_dim(recipe, data.channels, data.image_size),
            settings.epochs,
        )


@contextmanager
def _start(
    name: str | None, features: NDArray[np.floating] | None
) -> Iterator[str | None]:
    """The start of a field as its settings name it; features become a file."""
    if features is None:
        yield name
        return
    if name == ONE_HOT:
        raise ValueError(
            f"Expected no features with a field that starts {ONE_HOT} but got "
            f"{features.shape}"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "features.npy")
        np.save(file, features)
        yield str(file)


def name_of(device: torch.device) -> str:
    """The name of a GPU's card, or CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type.upper()
