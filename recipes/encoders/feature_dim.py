"""The size of an encoder's features."""

import torch
from torch import nn

from rkdo_plugin.export.encoder.image_size import ImageSize, sides


@torch.no_grad()
def feature_dim(encoder: nn.Module, in_channels: int, image_size: ImageSize) -> int:
    """Number of features that an encoder gives for an image.

    Args:
        encoder: From images (B, C, H, W) to features (B, F) or (B, F, 1, 1).
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels: one integer, or (H, W).

    Example:
        >>> encoder = create_encoder("small-convnet", in_channels=1)
        >>> feature_dim(encoder, in_channels=1, image_size=28)
        96
    """
    training = encoder.training
    # In evaluation mode the zero image leaves no trace in the running statistics.
    features = encoder.eval()(torch.zeros(1, in_channels, *sides(image_size)))
    encoder.train(training)
    return int(features.flatten(start_dim=1).shape[1])
