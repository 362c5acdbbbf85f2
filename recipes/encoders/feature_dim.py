"""The size of an encoder's features."""

import torch
from torch import nn

from rkdo_plugin.export.encoder.image_size import ImageSize, sides, written


@torch.no_grad()
def feature_dim(
    encoder: nn.Module,
    in_channels: int,
    image_size: ImageSize,
    name: str = "image_size",
) -> int:
    """Number of features that an encoder gives for an image.

    Args:
        encoder: From images (B, C, H, W) to features (B, F) or (B, F, 1, 1).
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels: one integer, or (H, W).
        name: The option that decides this size, for errors.

    Raises:
        ValueError: The encoder does not take such images.

    Example:
        >>> encoder = create_encoder("small-convnet", in_channels=1)
        >>> feature_dim(encoder, in_channels=1, image_size=28)
        96
    """
    training = encoder.training
    # In evaluation mode the zero image leaves no trace in the running statistics.
    try:
        features = encoder.eval()(torch.zeros(1, in_channels, *sides(image_size)))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"Expected `{name}` to be a size that the encoder {type(encoder).__name__} "
            f"takes but with {written(image_size)} it says: {error}"
        ) from error
    finally:
        encoder.train(training)
    return int(features.flatten(start_dim=1).shape[1])
