"""A run's recipe from its settings and its data, and what its checkpoint records."""

import inspect
from pathlib import Path
from typing import Any

from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.run_folder import Record, checkpoint_of
from rkdo_plugin.recipes.training.settings import RunSettings


def recipe_of(
    settings: RunSettings, images: ImageData, processes: int, *, resumed: bool
) -> Recipe:
    """The recipe of a run, which knows what the data decides.

    Args:
        settings: The settings of the run.
        images: The data.
        processes: Number of processes. Losses of several compare across all of them.
        resumed: A checkpoint will restore the weights, wherever they came from.

    Raises:
        OSError: The first weights are not there, or cannot be downloaded.
        TypeError: The registered factory is no recipe.
        ValueError: A setting is out of range, or the weights do not fit.
    """
    factory: Any = host().factory("recipe", settings.recipe)
    if not (isinstance(factory, type) and issubclass(factory, Recipe)):
        raise TypeError(
            f"Expected recipe '{settings.recipe}' to be a subclass of "
            f"rkdo_plugin.Recipe but got {factory!r}"
        )
    options = dict(settings.recipe_options or {})
    if settings.encoder is not None:
        options["encoder"] = settings.encoder
    if settings.loss is not None:
        options["loss"] = settings.loss
    if not resumed:
        options |= _start(settings)
    loss = options.get("loss", factory.default_loss)
    loss_options = dict(settings.loss_options or {})
    if processes > 1 and "gather_distributed" in _parameters("loss", loss):
        loss_options["gather_distributed"] = True
    return factory(
        factory.Settings(
            loss_options=loss_options or None,
            in_channels=images.channels,
            image_size=images.image_size,
            num_classes=images.num_classes,
            num_samples=len(images.train),
            **options,
        )
    )


def _start(settings: RunSettings) -> dict[str, Any]:
    """The settings of a recipe that say where its encoder's first weights are."""
    weights = settings.weights
    return {
        "weights": None if weights is None else checkpoint_of(Path(weights)),
        "branch": settings.branch,
        "pretrained": settings.pretrained,
    }


def record_of(settings: RunSettings, recipe: Recipe, images: ImageData) -> Record:
    """What exports and reports need to know of the run."""
    return Record(
        recipe=settings.recipe,
        settings=recipe.settings.plain(),
        encoder=recipe.encoder_name,
        normalize=recipe.normalize,
        in_channels=images.channels,
        image_size=images.image_size,
        mean=list(images.mean),
        std=list(images.std),
        data=settings.data,
        limit=settings.limit,
        seed=settings.seed,
    )


def _parameters(kind: str, name: str) -> set[str]:
    """The names of a registered factory's arguments."""
    return set(inspect.signature(host().factory(kind, name)).parameters)
