"""torchvision's networks without their classifiers."""

from typing import Any

import torchvision
from torch import nn

CLASSIFIERS = ("fc", "classifier", "head", "heads")  # what torchvision calls it


def resnet18(in_channels: int = 3, pretrained: bool = False) -> nn.Module:
    """ResNet-18 of torchvision, no classifier: (B, C, H, W) to (B, 512)."""
    return _resnet("resnet18", in_channels, pretrained)


def resnet50(in_channels: int = 3, pretrained: bool = False) -> nn.Module:
    """ResNet-50 of torchvision, no classifier: (B, C, H, W) to (B, 2048)."""
    return _resnet("resnet50", in_channels, pretrained)


def _resnet(model: str, in_channels: int, pretrained: bool) -> nn.Module:
    network: nn.Module = _network(model, in_channels, pretrained)
    network.fc = nn.Identity()
    if in_channels != 3:
        network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    return network


def _network(model: str, in_channels: int, pretrained: bool) -> Any:
    """torchvision's network, random or with torchvision's newest weights."""
    if not pretrained:
        return torchvision.models.get_model(model, weights=None)
    if in_channels != 3:
        raise ValueError(
            f"Expected images of 3 channels for the published weights of '{model}' but "
            f"got {in_channels}; timm:NAME takes any number"
        )
    weights = torchvision.models.get_model_weights(model).DEFAULT
    network = torchvision.models.get_model(model, weights=weights)
    reads = weights.transforms()
    # timm's networks say under this name how their weights read images.
    network.pretrained_cfg = {
        "input_size": (3, *reads.crop_size * 2),
        "mean": tuple(reads.mean),
        "std": tuple(reads.std),
    }
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


def torchvision_encoder(
    model: str, in_channels: int = 3, pretrained: bool = False
) -> nn.Module:
    """Any torchvision classification network without its last linear layer.

    Args:
        model: torchvision's name, for example "convnext_tiny".
        in_channels: Channels of the images; torchvision's networks read 3.
        pretrained: Download torchvision's newest weights, or take them from its cache.

    Raises:
        OSError: The weights cannot be downloaded.
        ValueError: There is no such network, or it reads 3 channels only.
    """
    if in_channels != 3:
        raise ValueError(
            f"Expected images of 3 channels for 'torchvision:{model}' but got "
            f"{in_channels}; timm:NAME takes any number"
        )
    network: nn.Module = _network(model, in_channels, pretrained)
    for name in CLASSIFIERS:
        part = getattr(network, name, None)
        if isinstance(part, nn.Linear):
            setattr(network, name, nn.Identity())
            return network
        if isinstance(part, nn.Sequential) and isinstance(part[-1], nn.Linear):
            part[-1] = nn.Identity()
            return network
    raise ValueError(f"Expected 'torchvision:{model}' to end in a linear layer")
