"""Encoders by name: modules from images (B, C, H, W) to pooled features (B, D)."""

from itertools import pairwise

import torch
import torchvision
from torch import Tensor, nn


@torch.no_grad()
def feature_dim(encoder: nn.Module, in_channels: int, image_size: int) -> int:
    """Number of features that an encoder gives for an image.

    Args:
        encoder: From images (B, C, H, W) to features (B, F) or (B, F, 1, 1).
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.

    Example:
        >>> feature_dim(SmallConvNet(in_channels=1), in_channels=1, image_size=28)
        96
    """
    training = encoder.training
    # In evaluation mode the zero image leaves no trace in the running statistics.
    features = encoder.eval()(torch.zeros(1, in_channels, image_size, image_size))
    encoder.train(training)
    return int(features.flatten(start_dim=1).shape[1])


def resnet18(in_channels: int = 3) -> nn.Module:
    """ResNet-18 of torchvision, no classifier: (B, C, H, W) to (B, 512)."""
    return _without_classifier(torchvision.models.resnet18(), in_channels)


def resnet50(in_channels: int = 3) -> nn.Module:
    """ResNet-50 of torchvision, no classifier: (B, C, H, W) to (B, 2048)."""
    return _without_classifier(torchvision.models.resnet50(), in_channels)


def _without_classifier(network: nn.Module, in_channels: int) -> nn.Module:
    network.fc = nn.Identity()
    if in_channels != 3:
        network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return network


def timm_encoder(model: str, in_channels: int = 3) -> nn.Module:
    """Any timm model without its classifier, created without pretrained weights.

    Args:
        model: timm's name, for example "vit_tiny_patch16_224".
        in_channels: Channels of the images.

    Raises:
        ImportError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"encoder 'timm:{model}' needs timm: pip install 'rkdo-plugin[timm]'"
        ) from error
    network: nn.Module = timm.create_model(model, num_classes=0, in_chans=in_channels)
    return network


class SmallConvNet(nn.Module):
    """Three strided convolutions for images of 28 to 32 pixels.

    Small enough to train on two CPU cores: 10,000 images take seconds an epoch.

    Args:
        in_channels: Channels of the images.
        widths: Channels after each convolution; the last is the number of features.
    """

    def __init__(
        self, in_channels: int = 3, widths: tuple[int, ...] = (16, 32, 96)
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )
                for before, after in pairwise((in_channels, *widths))
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, C, H, W)."""
        features: Tensor = self.layers(images).mean(dim=(2, 3))
        return features


def wide_convnet(in_channels: int = 3) -> nn.Module:
    """`SmallConvNet` of twice the width: (B, C, H, W) to (B, 192)."""
    return SmallConvNet(in_channels, (32, 64, 192))
