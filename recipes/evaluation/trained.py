"""Read what a run or an export left: its encoder, and the recipe if it reports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from rkdo_plugin.export import EmbeddingSession, ImageEmbedder, freeze
from rkdo_plugin.export.encoder.checkpoint import read_weights
from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.encoders.start import Normalization
from rkdo_plugin.recipes.evaluation.run_folder import checkpoint_of


@dataclass(frozen=True)
class Trained:
    """A trained encoder, however it is stored.

    Attributes:
        path: The checkpoint or the ONNX file.
        encoder: The encoder.
        data: Name of the data that it was trained on; None where that is not recorded.
        limit: Number of training images that were drawn; None for all.
        seed: Seed of that draw.
        recipe: The trained recipe, if it reports on itself.
        normalization: How the recipe was trained to read images.
        views: The views of whole batches that the recipe was trained on, for given
            data; None where no recipe is recorded.
    """

    path: Path
    encoder: ImageEmbedder
    data: str | None = None
    limit: int | None = None
    seed: int = 0
    recipe: Recipe | None = None
    normalization: Normalization | None = None
    views: Callable[[ImageData], nn.Module] | None = None


def load_trained(path: Path) -> Trained:
    """Load an ONNX file, or the encoder of a run folder or a checkpoint.

    Args:
        path: A run folder, a checkpoint, or an ONNX file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or was not written by this package.
    """
    if path.suffix == ".onnx":
        return Trained(path, EmbeddingSession(path))
    path = checkpoint_of(path)
    checkpoint = read_weights(path)
    record = checkpoint.record
    recipe: Recipe | None = None
    normalization: Normalization | None = None
    views: Callable[[ImageData], nn.Module] | None = None
    if "recipe" in record:
        lacking = [name for name in ("settings", "mean", "std") if name not in record]
        if lacking:
            raise ValueError(
                f"Expected {path} to record its recipe whole but it lacks "
                + ", ".join(lacking)
            )
        normalization = Normalization(tuple(record["mean"]), tuple(record["std"]))
        factory: Any = host().factory("recipe", record["recipe"])
        views = partial(_views, factory, record["settings"])
        if factory.reports:
            try:
                recipe = factory(record["settings"])
                recipe.load_state_dict(checkpoint.weights)
            except (RuntimeError, TypeError) as error:
                raise ValueError(
                    f"Expected {path} to hold a recipe {record['recipe']} but got: "
                    f"{error}"
                ) from error
            recipe.eval()
    encoder = freeze(checkpoint)
    return Trained(
        path,
        encoder,
        data=record.get("data"),
        limit=record.get("limit"),
        seed=record.get("seed", 0),
        recipe=recipe,
        normalization=normalization,
        views=views,
    )


def _views(
    factory: Callable[[Mapping[str, Any]], Recipe],
    settings: Mapping[str, Any],
    data: ImageData,
) -> nn.Module:
    """A recipe's views, which do not depend on its weights."""
    return factory(settings).batched_views(data)


def encoder_of_run(run: str, in_channels: int = 3) -> nn.Module:
    """The trained encoder of a run folder or a checkpoint.

    Args:
        run: The folder or the file.
        in_channels: Channels of the images.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The checkpoint records no encoder, or one for other images.
    """
    encoder = freeze(checkpoint_of(Path(run)))
    if encoder.channels != in_channels:
        raise ValueError(
            f"Expected an encoder of images of {in_channels} channels but that of "
            f"{run} reads {encoder.channels}"
        )
    return encoder.backbone.requires_grad_(True)
