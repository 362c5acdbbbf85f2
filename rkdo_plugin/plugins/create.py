"""Create losses, recipes and encoders by the names that plugins contribute."""

import os
from functools import lru_cache
from typing import Any

from rkdo_plugin.plugins.host import DISABLE_VARIABLE, PluginHost


@lru_cache(maxsize=1)
def host() -> PluginHost:
    """The host of this process, built on first use."""
    disabled = os.environ.get(DISABLE_VARIABLE, "")
    return PluginHost(frozenset(filter(None, map(str.strip, disabled.split(",")))))


def create_loss(name: str, **options: Any) -> Any:
    """Create a criterion by its registered name.

    Args:
        name: For example "icon", "rkdo" or "ntxent".
        options: Arguments of the criterion, for example `temperature=0.2`.

    Returns:
        The criterion, an `nn.Module` called as `criterion(z0, z1)`.

    Raises:
        ValueError: The name is unknown (the message lists the known ones), or two
            plugins contribute it.

    Example:
        >>> create_loss("rkdo", temperature=0.2).temperature
        0.2
    """
    return host().factory("loss", name)(**options)


def create_recipe(name: str, **options: Any) -> Any:
    """Create a recipe by its registered name.

    Args:
        name: For example "simclr" or "byol".
        options: Arguments of the recipe, for example `loss="rkdo"`.

    Returns:
        The recipe, a `LightningModule`.

    Raises:
        ValueError: The name is unknown, or two plugins contribute it.

    Example:
        >>> create_recipe("simclr", encoder="small-convnet", loss="rkdo").criterion
        RKDOLoss(temperature=0.5, ...)
    """
    return host().factory("recipe", name)(**options)


def create_encoder(name: str, **options: Any) -> Any:
    """Create an encoder by its registered name.

    Args:
        name: For example "resnet18", "small-convnet" or "timm:vit_tiny_patch16_224":
            what follows a colon is handed to the factory first.
        options: Arguments of the encoder, for example `in_channels=1`.

    Returns:
        The encoder, an `nn.Module` from images (B, C, H, W) to features (B, D).

    Raises:
        ValueError: The name is unknown, or two plugins contribute it.

    Example:
        >>> encoder = create_encoder("small-convnet", in_channels=1)
        >>> encoder(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 96])
    """
    name, *argument = name.split(":", maxsplit=1)
    return host().factory("encoder", name)(*argument, **options)
