"""Encoders by name: modules from images (B, C, H, W) to pooled features (B, D)."""

from itertools import pairwise
from pathlib import Path

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


def resnet18_small(in_channels: int = 3) -> nn.Module:
    """ResNet-18 for images of 28 to 64 pixels: (B, C, H, W) to (B, 512)."""
    return _for_small_images(torchvision.models.resnet18(), in_channels)


def resnet50_small(in_channels: int = 3) -> nn.Module:
    """ResNet-50 for images of 28 to 64 pixels: (B, C, H, W) to (B, 2048)."""
    return _for_small_images(torchvision.models.resnet50(), in_channels)


def _for_small_images(network: nn.Module, in_channels: int) -> nn.Module:
    """SimCLR's stem for CIFAR: no stride and no pooling before the first block."""
    network.fc = nn.Identity()
    network.conv1 = nn.Conv2d(in_channels, 64, 3, stride=1, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


CLASSIFIERS = ("fc", "classifier", "head", "heads")  # what torchvision calls it


def torchvision_encoder(model: str, in_channels: int = 3) -> nn.Module:
    """Any torchvision classification network without its last linear layer.

    Args:
        model: torchvision's name, for example "convnext_tiny".
        in_channels: Channels of the images; torchvision's networks read 3.

    Raises:
        ValueError: There is no such network, or it reads 3 channels only.
    """
    if in_channels != 3:
        raise ValueError(
            f"Expected images of 3 channels for 'torchvision:{model}' but got "
            f"{in_channels}; timm:NAME takes any number"
        )
    network: nn.Module = torchvision.models.get_model(model, weights=None)
    for name in CLASSIFIERS:
        part = getattr(network, name, None)
        if isinstance(part, nn.Linear):
            setattr(network, name, nn.Identity())
            return network
        if isinstance(part, nn.Sequential) and isinstance(part[-1], nn.Linear):
            part[-1] = nn.Identity()
            return network
    raise ValueError(f"Expected 'torchvision:{model}' to end in a linear layer")


def masked_vit(model: str, in_channels: int = 3) -> nn.Module:
    """A timm vision transformer in Lightly's wrapper, which can mask patches.

    Args:
        model: timm's name, for example "vit_tiny_patch16_224".
        in_channels: Channels of the images.
    """
    from lightly.models.modules import MaskedVisionTransformerTIMM

    network: nn.Module = MaskedVisionTransformerTIMM(timm_encoder(model, in_channels))
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


class Pixels(nn.Module):
    """The pixels themselves: (B, C, H, W) to (B, C * H * W).

    Args:
        in_channels: Channels of the images.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, C, H, W)."""
        return images.flatten(start_dim=1)


def of_run(run: str, in_channels: int = 3) -> nn.Module:
    """The trained encoder of a run folder or a checkpoint.

    Args:
        run: The folder or the file.
        in_channels: Channels of the images.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The checkpoint records no encoder, or one for other images.
    """
    from rkdo_plugin.export import freeze
    from rkdo_plugin.recipes.evaluation.model import checkpoint_of

    encoder = freeze(checkpoint_of(Path(run)))
    if encoder.channels != in_channels:
        raise ValueError(
            f"Expected an encoder of images of {in_channels} channels but that of "
            f"{run} reads {encoder.channels}"
        )
    return encoder.backbone.requires_grad_(True)


HIDDEN_DIM = 256  # of the layer between an encoder and its map


def onto_plane(encoder: str, in_channels: int = 3) -> nn.Module:
    """An encoder whose features are mapped to two numbers: (B, C, H, W) to (B, 2).

    Args:
        encoder: A registered encoder of any image size, for example "small-convnet".
        in_channels: Channels of the images.
    """
    from rkdo_plugin.plugins.create import create_encoder

    network = create_encoder(encoder, in_channels=in_channels)
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
