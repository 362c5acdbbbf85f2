"""Augmented views of an image by Lightly's transforms, and of whole batches."""

from collections.abc import Callable
from typing import Any

import torch
from lightly.transforms.byol_transform import (
    BYOLTransform,
    BYOLView1Transform,
    BYOLView2Transform,
)
from lightly.transforms.dino_transform import DINOTransform
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.simclr_transform import SimCLRTransform
from torch import nn

from rkdo_plugin.export.encoder.image_size import ImageSize, as_image_size, sides
from rkdo_plugin.export.encoder.pictures import Picture
from rkdo_plugin.recipes.data.images import ImageData, fitted
from rkdo_plugin.recipes.views.batched import BatchedViews
from rkdo_plugin.recipes.views.view import read_view

# Shorter side from which a method has its published views. Smaller images carry no
# detail that a blur could hide, and all methods share Lightly's own CIFAR settings.
PUBLISHED_FROM = 64
MIN_SCALE = 0.3  # smallest crop below, as a fraction of the area
JITTER = 0.5  # strength of brightness, contrast and colour changes below
NOT_MIRRORED = {"digits"}  # a mirrored digit is no digit any more

Views = Callable[[Any], Any]  # from a picture to tensors (C, H, W)


class BYOLViews(BYOLTransform):
    """BYOL's two views, which differ in blur and solarisation.

    Args:
        options: What both views have in common, as `input_size`: the arguments of
            Lightly's other transforms.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(BYOLView1Transform(**options), BYOLView2Transform(**options))


def two_views(
    data: ImageData, published: Callable[..., MultiViewTransform] = SimCLRTransform
) -> MultiViewTransform:
    """The transform from a PIL image to two augmented tensors (C, H, W).

    Args:
        data: Says the size, the channels, the mean and the standard deviation.
        published: The class of the method's own transform, for images whose shorter
            side has 64 pixels or more.
    """
    size: Any = data.image_size  # Lightly hands it to torchvision, which takes (H, W)
    if min(sides(size)) >= PUBLISHED_FROM:
        return published(input_size=size, **_of_data(data))
    return SimCLRTransform(
        input_size=size,
        cj_strength=JITTER,
        min_scale=MIN_SCALE,
        gaussian_blur=0.0,
        **_of_data(data),
    )


def multi_crop(
    data: ImageData, local_views: int, local_size: int | None = None
) -> MultiViewTransform:
    """The transform from a PIL image to two large and some small crops, as DINO's.

    Args:
        data: Says the size, the channels, the mean and the standard deviation.
        local_views: Number of small crops.
        local_size: Their shorter side in pixels. By default 3/7 of the image's, as 96
            of 224, and half of it below 64 pixels.
    """
    options = _of_data(data) | {
        "global_crop_size": data.image_size,
        "local_crop_size": small_crop(data.image_size, local_size),
        "n_local_views": local_views,
    }
    if min(sides(data.image_size)) < PUBLISHED_FROM:
        options |= {"gaussian_blur": (0.0, 0.0, 0.0), "solarization_prob": 0.0}
    return DINOTransform(**options)


def small_crop(image_size: ImageSize, local_size: int | None = None) -> ImageSize:
    """The size in pixels of the small crops of `multi_crop`, for images of a size."""
    shorter = min(sides(image_size))
    large = shorter >= PUBLISHED_FROM
    local = local_size or (shorter * 3 // 7 if large else shorter // 2)
    return as_image_size([side * local // shorter for side in sides(image_size)])


def _of_data(data: ImageData) -> dict[str, Any]:
    """What the data decides, whatever the method: options of Lightly's transforms."""
    options: dict[str, Any] = {
        "normalize": {"mean": list(data.mean), "std": list(data.std)}
    }
    if data.name in NOT_MIRRORED:
        options["hf_prob"] = 0.0
    if data.channels != 3:
        options |= {"cj_sat": 0.0, "cj_hue": 0.0, "random_gray_scale": 0.0}
    return options


def batched(views: Views, data: ImageData) -> BatchedViews:
    """The views of a Lightly transform, of whole batches; resizing is bilinear.

    Args:
        views: The transform.
        data: Says the mean and the standard deviation.

    Raises:
        ValueError: The transform is none of Lightly's, or makes changes that batches
            do not have.
    """
    if not isinstance(views, MultiViewTransform):
        raise ValueError(
            "Expected a recipe of augmented views with augment='batches' but got one "
            "whose views are no transform of Lightly's"
        )
    return BatchedViews([read_view(v) for v in views.transforms], data.mean, data.std)


def raw_image(data: ImageData, copies: int = 1) -> Views:
    """The transform from a picture to a list of tensors (C, H, W), uint8.

    Images of another size are resized until they cover the encoder's, and cropped to
    the middle.

    Args:
        data: Says the size.
        copies: Length of the list; 2 where the second view shows a partner.
    """

    def raw(picture: Picture) -> list[torch.Tensor]:
        pixels = torch.tensor(fitted(picture, data.image_size))
        return [pixels.permute(2, 0, 1)] * copies

    return raw


def one_by_one(views: nn.Module, data: ImageData) -> Views:
    """Views of whole batches as the transform from a picture to tensors (C, H, W).

    Lightly's transforms change PIL images. Arrays of other channels go this way.

    Args:
        views: The views of batches.
        data: Says the size.
    """
    raw = raw_image(data)

    def of_one(picture: Picture) -> list[torch.Tensor]:
        return [view[0] for view in views([raw(picture)[0][None]])]

    return of_one
