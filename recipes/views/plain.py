"""Images without augmentation, for recipes that read frozen features of them."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from rkdo_plugin.recipes.data.images import ImageData


def plain_view(data: ImageData) -> Callable[[Image.Image], list[Tensor]]:
    """The transform from a PIL image to the same tensor (C, H, W) twice.

    Args:
        data: Says the size, the mean and the standard deviation.
    """
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(data.image_size),
            v2.CenterCrop(data.image_size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(data.mean), list(data.std)),
        ]
    )

    def view(image: Image.Image) -> list[Tensor]:
        tensor: Tensor = transform(image)
        return [tensor, tensor]

    return view
