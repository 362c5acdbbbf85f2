"""Images without augmentation, of an encoder's size."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms import v2

from rkdo_plugin.export.encoder.pictures import Picture
from rkdo_plugin.recipes.data.images import ImageData, fitted


def plain_view(data: ImageData) -> Callable[[Picture], list[Tensor]]:
    """The transform from a picture to the same tensor (C, H, W) twice.

    Args:
        data: Says the size, the mean and the standard deviation.
    """
    normalised = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(data.mean), list(data.std)),
        ]
    )

    def view(picture: Picture) -> list[Tensor]:
        pixels = torch.tensor(fitted(picture, data.image_size))
        tensor: Tensor = normalised(pixels.permute(2, 0, 1))
        return [tensor, tensor]

    return view
