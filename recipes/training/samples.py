"""What a recipe is trained on, in the form in which a step reads it."""

from typing import Any

import pytorch_lightning as pl
import torch

from rkdo_plugin.field import FieldPairs
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages
from rkdo_plugin.recipes.data.labels import PartlyLabelled
from rkdo_plugin.recipes.encoders.torchvision import feature_dim
from rkdo_plugin.recipes.field.open import ONE_HOT, open_field
from rkdo_plugin.recipes.training.loader import StepLoader
from rkdo_plugin.recipes.views.transforms import Views, raw_image, two_views


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
    recipe: Any,
    images: ImageData,
    batch_size: int,
    seed: int,
    workers: int,
    *,
    whole_batches: bool,
    field: str | None,
    field_options: dict[str, Any],
    resumed: bool,
) -> tuple[StepLoader, list[pl.Callback]]:
    """The loader of a recipe's batches, and the callback of its response field.

    Args:
        recipe: The recipe, or any module of two views.
        images: The data.
        batch_size: Images a batch, over all processes.
        seed: Of the order, of the augmentation and of which labels are seen.
        workers: Processes that load and augment.
        whole_batches: Leave the views to the recipe.
        field: Start of the response field; the recipe's own when not given.
        field_options: Options of `open_field`.
        resumed: A checkpoint will restore the field.
    """
    field_stays = getattr(recipe, "field_stays", False)
    if field_stays:
        _check_field_stays(type(recipe).__name__, field, field_options)
        field = field or getattr(recipe, "own_field", None)
    views = recipe.views(images) if hasattr(recipe, "views") else two_views(images)
    if whole_batches:
        if not hasattr(recipe, "batched_views"):
            raise ValueError(
                "Expected a `Recipe` with augment='batches' but got "
                f"{type(recipe).__name__}"
            )
        recipe.augment = recipe.batched_views(images)
        views = raw_image(images, copies=1 if field is None else 2)
    train, labelled = images.train, None
    if hasattr(recipe, "labelled"):
        train = PartlyLabelled(images.train, recipe.labelled, seed)
        labelled = train.labelled
    if field is None:
        samples = TwoViews(train, views)
        return StepLoader(samples, batch_size, seed, workers, None, labelled), []
    callback = open_field(
        field,
        images,
        feature_dim(recipe, images.channels, images.image_size),
        initialize=field_stays or not resumed,
        **field_options,
    )
    pairs = FieldPairs(train, views, callback.field)
    loader = StepLoader(pairs, batch_size, seed, workers, callback.field, labelled)
    return loader, [] if field_stays else [callback]


def _check_field_stays(
    recipe: str, field: str | None, field_options: dict[str, Any]
) -> None:
    coupling = field_options.get("coupling") or field_options.get("final_coupling")
    if field == ONE_HOT or coupling:
        got = f"--field {ONE_HOT}" if field == ONE_HOT else f"a coupling of {coupling}"
        raise ValueError(
            f"Expected a field of neighbours, which stays as it is with {recipe}, but "
            f"got {got}"
        )
