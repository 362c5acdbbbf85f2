"""Create losses, recipes and encoders by the names that plugins contribute."""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rkdo_plugin.plugins.host import host
from rkdo_plugin.plugins.names import did_you_mean

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
        TypeError: The name is no text, or the loss has no such argument.
        ValueError: The name is unknown (the message lists the known ones), or two
            plugins contribute it.

    Example:
        >>> create_loss("rkdo", temperature=0.2).temperature
        0.2
    """
    factory = host().factory("loss", name)
    _require_arguments(f"loss '{name}'", factory, options)
    criterion: nn.Module = factory(**options)
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
    recipe: Any = host().factory("recipe", name)
    _require_arguments(f"recipe '{name}'", recipe.Settings, options)
    created: LightningModule = recipe(recipe.Settings(**options))
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
        TypeError: The name is no text, or the encoder has no such argument.
        ValueError: The name is unknown, or two plugins contribute it.

    Example:
        >>> encoder = create_encoder("small-convnet", in_channels=1)
        >>> encoder(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 96])
    """
    argument: list[str] = []
    if isinstance(name, str):
        name, *argument = name.split(":", maxsplit=1)
    factory = host().factory("encoder", name)
    _require_arguments(f"encoder '{name}'", factory, options)
    encoder: nn.Module = factory(*argument, **options)
    return encoder


def _require_arguments(
    what: str, factory: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    """Refuse arguments that a factory does not have."""
    parameters = inspect.signature(factory).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            raise TypeError(
                f"Expected an argument of {what} but got `{name}`"
                f"{did_you_mean(name, parameters)}; known: {', '.join(parameters)}"
            )
