"""The settings that every recipe shares."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from rkdo_plugin.export.encoder.image_size import ImageSize, as_image_size
from rkdo_plugin.options import check_at_least, check_count, check_positive

# Where a recipe's first weights come from. Its checkpoint holds the trained ones.
STARTS = {"weights", "branch", "pretrained"}


@dataclass(frozen=True)
class RecipeSettings:
    """Settings of a recipe.

    A recipe with more options has a dataclass `Settings` of its own, derived from this
    one. `rkdo train` fills in what the data decides: `in_channels`, `image_size`,
    `num_classes` and `num_samples`. All other fields are options of the command line,
    as `--recipe.learning-rate 0.01`.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        weights: A file of weights that the encoder starts from: any that `freeze`
            reads. A module is filled in place.
        branch: Where in that file the encoder is, such as "encoder", if its name does
            not tell it from a momentum copy or a student.
        pretrained: Start from the weights that torchvision or timm publish.
        loss: A registered loss's name, or a criterion. By default the recipe's
            `default_loss`.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels C of the images.
        image_size: Height and width of the images in pixels: one integer, or (H, W).
        num_classes: Number of classes; 0 where there are no labels.
        num_samples: Number of training images.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: The highest learning rate, reached after the warm-up.
        weight_decay: Weight decay of matrices and kernels.

    Example:
        >>> RecipeSettings(loss="rkdo", loss_options={"temperature": 0.2}).loss
        'rkdo'
    """

    encoder: str | nn.Module = "small-convnet"
    weights: str | Path | None = None
    branch: str | None = None
    pretrained: bool = False
    loss: str | nn.Module | None = None
    loss_options: dict[str, Any] | None = None
    in_channels: int = 3
    image_size: ImageSize = 32
    num_classes: int = 0
    num_samples: int = 0
    optimizer: str = "adamw"
    learning_rate: float = 4e-3
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        check_count("in_channels", self.in_channels)
        as_image_size(self.image_size)
        check_count("num_classes", self.num_classes, least=0)
        check_count("num_samples", self.num_samples, least=0)
        check_positive("learning_rate", self.learning_rate)
        check_at_least("weight_decay", self.weight_decay, 0)

    def plain(self) -> dict[str, Any]:
        """The fields as a checkpoint records them.

        There are no modules among them, and nothing that would read other weights than
        the checkpoint's.
        """
        names = [field.name for field in fields(self) if field.name not in STARTS]
        values = {name: getattr(self, name) for name in names}
        return {k: v for k, v in values.items() if not isinstance(v, nn.Module)}


SettingsLike = RecipeSettings | Mapping[str, Any] | None
"""Settings, a mapping of their fields as a checkpoint holds them, or the defaults."""


def as_settings(settings: SettingsLike, kind: type[RecipeSettings]) -> RecipeSettings:
    """The settings, from an instance, from a mapping of its fields, or the defaults.

    Raises:
        TypeError: They are of another kind, or the mapping has other names.
    """
    if isinstance(settings, RecipeSettings):
        if not isinstance(settings, kind):
            raise TypeError(
                f"Expected `settings` to be {kind.__qualname__} but got "
                f"{type(settings).__qualname__}"
            )
        return settings
    return kind(**(settings or {}))
