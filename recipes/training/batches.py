"""The batches that a recipe's step reads, and the response field that pairs them."""

from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from lightly.transforms.multi_view_transform import MultiViewTransform

from rkdo_plugin.export.encoder.pictures import MODES
from rkdo_plugin.field import FieldPairs
from rkdo_plugin.field.trust import AUTO
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.held import HeldImages
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages
from rkdo_plugin.recipes.data.labels import PartlyLabelled
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim
from rkdo_plugin.recipes.field.create import (
    ONE_HOT,
    FieldSettings,
    create_field_callback,
)
from rkdo_plugin.recipes.training.held import HeldBatches
from rkdo_plugin.recipes.training.loader import StepLoader
from rkdo_plugin.recipes.training.settings import RunSettings
from rkdo_plugin.recipes.views.transforms import Views, one_by_one, raw_image

FIXED_WEIGHT = 0.5  # of a field that nothing can judge


class TwoViews(torch.utils.data.Dataset[tuple[Any, int, int]]):
    """Labelled images as Lightly's recipes read them: (views, label, index)."""

    def __init__(self, images: LabelledImages, views: Views) -> None:
        self.images = images
        self.views = views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int, int]:
        image, label = self.images[index]
        return self.views(image), label, index


def open_loader(
    recipe: Recipe,
    images: ImageData,
    settings: RunSettings,
    workers: int,
    *,
    resumed: bool,
) -> tuple[StepLoader, list[pl.Callback]]:
    """The loader of a recipe's batches, and the callback of its response field.

    Args:
        recipe: Says how views are made and what it does with a field.
        images: The data.
        settings: The settings of the run.
        workers: Processes that load and augment.
        resumed: A checkpoint will restore the field.

    Raises:
        ValueError: The field's options do not go with the recipe, or the batch size is
            out of range.
    """
    start = settings.field
    options = FieldSettings(**(settings.field_options or {}))
    if not recipe.updates_field:
        _check_fixed_rows(type(recipe).__name__, start, options)
        start = start or recipe.default_field
        if options.field_weight is None:
            options = replace(options, field_weight=FIXED_WEIGHT)
    if settings.augment == "batches":
        recipe.augment = recipe.batched_views(images)
        views = raw_image(images, copies=1 if start is None else 2)
    else:
        views = recipe.views(images)
        if images.channels not in MODES and isinstance(views, MultiViewTransform):
            views = one_by_one(recipe.batched_views(images), images)
    train, labelled = images.train, None
    if recipe.labelled is not None:
        train = PartlyLabelled(images.train, recipe.labelled, settings.seed)
        labelled = train.labelled
    batch = (settings.batch_size, settings.seed, workers)
    samples: Any = None
    if settings.augment == "batches" and isinstance(train, HeldImages):
        samples = HeldBatches(train)
    if start is None:
        samples = samples or TwoViews(train, views)
        return StepLoader(samples, *batch, None, labelled), []
    callback = create_field_callback(
        start,
        options,
        images,
        feature_dim(recipe, images.channels, images.image_size),
        settings.epochs,
        initialize=not (resumed and recipe.updates_field),
    )
    samples = samples or FieldPairs(train, views, callback.field)
    loader = StepLoader(samples, *batch, callback.field, labelled)
    return loader, [callback] if recipe.updates_field else []


def _check_fixed_rows(recipe: str, start: str | None, options: FieldSettings) -> None:
    """Refuse a field that would have to change where a recipe cannot update it."""
    coupling = options.coupling or options.final_coupling
    if start == ONE_HOT or coupling:
        got = f"--field {ONE_HOT}" if start == ONE_HOT else f"a coupling of {coupling}"
        raise ValueError(
            "Expected a field of given neighbours, whose rows stay as they start, with "
            f"{recipe} but got {got}"
        )
    if options.field_weight == AUTO:
        raise ValueError(
            f"Expected a field weight from 0 to 1 with {recipe}, which gives the field "
            f"no embeddings to judge it by, but got {AUTO}"
        )
