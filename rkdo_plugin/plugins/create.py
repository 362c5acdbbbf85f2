"""Create losses, recipes and encoders by the names that plugins contribute."""

from typing import TYPE_CHECKING, Any

from rkdo_plugin.plugins.host import host

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule
    from torch import nn


def create_loss(name: str, **options: Any) -> "nn.Module":
    """Create a loss by its registered name.

    Args:
        name: For example "icon", "rkdo" or "ntxent"; `rkdo plugins` lists all.
        options: Arguments of the loss, for example `temperature=0.2`.

    Returns:
        The criterion, called as `criterion(z0, z1)`.

    Raises:
        TypeError: The name is no text.
        ValueError: The name is unknown (the message lists the known ones), or two
            plugins contribute it.

    Example:
        >>> create_loss("rkdo", temperature=0.2).temperature
        0.2
    """
    criterion: nn.Module = host().factory("loss", name)(**options)
    return criterion


def create_recipe(name: str, **options: Any) -> "LightningModule":
    """Create a recipe by its registered name.

    Args:
        name: For example "simclr" or "byol".
        options: Fields of the recipe's `Settings`, for example `loss="rkdo"`.

    Returns:
        The recipe.

    Raises:
        TypeError: The name is no text, or the recipe has no such setting.
        ValueError: The name is unknown, or two plugins contribute it.

    Example:
        >>> create_recipe("simclr", encoder="small-convnet", loss="rkdo").criterion
        RKDOLoss(...temperature=0.5, ...)
    """
    recipe = host().factory("recipe", name)
    created: LightningModule = recipe(recipe.Settings(**options))  # type: ignore[attr-defined]
    return created


def create_encoder(name: str, **options: Any) -> "nn.Module":
    """Create an encoder by its registered name.

    Args:
        name: For example "resnet18", "small-convnet" or "timm:vit_tiny_patch16_224".
            What follows a colon is the factory's first argument.
        options: Arguments of the encoder, for example `in_channels=1`.

    Returns:
        A module from images (B, C, H, W) to features (B, D).

    Raises:
        TypeError: The name is no text.
        ValueError: The name is unknown, or two plugins contribute it.

    Example:
        >>> encoder = create_encoder("small-convnet", in_channels=1)
        >>> encoder(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 96])
    """
    argument: list[str] = []
    if isinstance(name, str):
        name, *argument = name.split(":", maxsplit=1)
    encoder: nn.Module = host().factory("encoder", name)(*argument, **options)
    return encoder
