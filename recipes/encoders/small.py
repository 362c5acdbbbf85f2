"""Small networks that two CPU cores can train, and the pixels themselves."""

from itertools import pairwise

from torch import Tensor, nn


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
