"""An encoder that ends in the plane."""

from torch import nn

from rkdo_plugin.plugins.create import create_encoder
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim
from rkdo_plugin.recipes.encoders.small import Pixels

HIDDEN_DIM = 256  # of the layer between an encoder and its map


def onto_plane(encoder: str, in_channels: int = 3) -> nn.Module:
    """An encoder whose features are mapped to two numbers: (B, C, H, W) to (B, 2).

    Args:
        encoder: A registered encoder of any image size, for example "small-convnet".
        in_channels: Channels of the images.
    """
    return ending_in_plane(
        create_encoder(encoder, in_channels=in_channels), in_channels
    )


def ending_in_plane(network: nn.Module, in_channels: int) -> nn.Module:
    """An encoder that is there already, with the layers of `onto_plane` behind it."""
    size = getattr(network, "pretrained_cfg", {}).get("input_size", (3, 32, 32))[-1]
    dim = feature_dim(network, in_channels, size)
    if isinstance(network, Pixels):
        raise ValueError(
            "Expected an encoder whose features are as many at any image size but got "
            "'pixels'"
        )
    return nn.Sequential(
        network,
        nn.Flatten(),
        nn.Linear(dim, HIDDEN_DIM),
        nn.ReLU(),
        nn.Linear(HIDDEN_DIM, 2),
    )
