"""Images without augmentation, of an encoder's size."""

from collections.abc import Callable
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.recipes.data.images import ImageData

ImageOrTensor = TypeVar("ImageOrTensor", Image.Image, Tensor)


def fitted(image: ImageOrTensor, image_size: ImageSize) -> ImageOrTensor:
    """The middle of an image that is resized until it just covers a size.

    For a square, the shorter side is resized, and the middle of the longer one stays.

    Args:
        image: A PIL image, or a tensor (C, H, W).
        image_size: Height and width of the result in pixels.

    Example:
        >>> fitted(Image.new("L", (300, 300)), (256, 128)).size  # width, height
        (128, 256)
    """
    height, width = sides(image_size)
    h, w = functional.get_size(image)
    # Rounded down, as torchvision rounds the longer side.
    size = (
        [height, w * height // h]
        if w * height >= h * width
        else [h * width // w, width]
    )
    found: ImageOrTensor = functional.resize(image, size)
    found = functional.center_crop(found, [height, width])
    return found


def plain_view(data: ImageData) -> Callable[[Image.Image], list[Tensor]]:
    """The transform from a PIL image to the same tensor (C, H, W) twice.

    Args:
        data: Says the size, the mean and the standard deviation.
    """
    normalised = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(data.mean), list(data.std)),
        ]
    )

    def view(image: Image.Image) -> list[Tensor]:
        tensor: Tensor = normalised(fitted(functional.to_image(image), data.image_size))
        return [tensor, tensor]

    return view
