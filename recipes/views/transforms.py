"""Augmented views of an image, by Lightly's transforms."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightly.transforms.dino_transform import DINOTransform
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torchvision.transforms import v2

from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.views.batched import BatchedViews, View

# Settings for small images, below BLUR_FROM pixels; Lightly's own CIFAR recipes agree.
MIN_SCALE = 0.3  # smallest crop, as a fraction of the area
JITTER = 0.5  # strength of brightness, contrast and colour changes
BLUR_FROM = 64  # smaller images carry no detail that a blur could hide
NOT_MIRRORED = {"digits"}  # a mirrored digit is no digit any more

Views = Callable[[Image.Image], Any]  # from an image to tensors (C, H, W)


def two_views(data: ImageData) -> Views:
    """The transform from a PIL image to two augmented tensors (C, H, W).

    BYOL's transform differs from SimCLR's in blur and solarisation, which small images
    do without. Every recipe here shares this transform.

    Args:
        data: Says the size, the channels, the mean and the standard deviation.
    """
    large = data.image_size >= BLUR_FROM
    colour = data.channels == 3
    return SimCLRTransform(
        input_size=data.image_size,
        cj_strength=1.0 if large else JITTER,
        cj_sat=0.8 if colour else 0.0,
        cj_hue=0.2 if colour else 0.0,
        min_scale=0.08 if large else MIN_SCALE,
        random_gray_scale=0.2 if colour else 0.0,
        gaussian_blur=0.5 if large else 0.0,
        hf_prob=0.0 if data.name in NOT_MIRRORED else 0.5,
        normalize={"mean": list(data.mean), "std": list(data.std)},
    )


def multi_crop(data: ImageData, local_views: int, local_size: int) -> Views:
    """The transform from a PIL image to two large and some small crops, as DINO's.

    Args:
        data: Says the size, the channels, the mean and the standard deviation.
        local_views: Number of small crops.
        local_size: Their height and width in pixels.
    """
    large = data.image_size >= BLUR_FROM
    colour = data.channels == 3
    return DINOTransform(
        global_crop_size=data.image_size,
        local_crop_size=local_size,
        n_local_views=local_views,
        hf_prob=0.0 if data.name in NOT_MIRRORED else 0.5,
        cj_sat=0.4 if colour else 0.0,
        cj_hue=0.2 if colour else 0.0,
        random_gray_scale=0.2 if colour else 0.0,
        gaussian_blur=(1.0, 0.1, 0.5) if large else (0.0, 0.0, 0.0),
        solarization_prob=0.2 if large else 0.0,
        normalize={"mean": list(data.mean), "std": list(data.std)},
    )


def batched_two_views(data: ImageData) -> BatchedViews:
    """The views of `two_views`, of whole batches.

    Args:
        data: Says the size, the channels, the mean and the standard deviation.
    """
    large = data.image_size >= BLUR_FROM
    strength = 1.0 if large else JITTER
    view = View(
        data.image_size,
        scale=(0.08 if large else MIN_SCALE, 1.0),
        flip=0.0 if data.name in NOT_MIRRORED else 0.5,
        brightness=0.8 * strength,
        contrast=0.8 * strength,
        saturation=0.8 * strength,
        hue=0.2 * strength,
        blur=0.5 if large else 0.0,
    )
    return BatchedViews([view, view], data.mean, data.std)


def batched_multi_crop(
    data: ImageData, local_views: int, local_size: int
) -> BatchedViews:
    """The crops of `multi_crop`, of whole batches; resizing is bilinear, not bicubic.

    The arguments are those of `multi_crop`.
    """
    large = data.image_size >= BLUR_FROM
    first = View(
        data.image_size,
        scale=(0.4, 1.0),
        flip=0.0 if data.name in NOT_MIRRORED else 0.5,
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        blur=1.0 if large else 0.0,
    )
    second = replace(first, blur=0.1 if large else 0.0, solarize=0.2 if large else 0.0)
    local = replace(
        first, size=local_size, scale=(0.05, 0.4), blur=0.5 if large else 0.0
    )
    return BatchedViews([first, second, *[local] * local_views], data.mean, data.std)


def raw_image(data: ImageData, copies: int = 1) -> Views:
    """The transform from a PIL image to a list of tensors (C, H, W), uint8.

    Images of another size are resized to the encoder's on their shorter side, and
    cropped to the middle.

    Args:
        data: Says the size.
        copies: Length of the list; 2 where the second view shows a partner.
    """
    size = data.image_size
    fit = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])

    def raw(image: Image.Image) -> list[torch.Tensor]:
        fitting = image if image.size == (size, size) else fit(image)
        return [
            torch.from_numpy(np.atleast_3d(np.array(fitting))).permute(2, 0, 1)
        ] * copies

    return raw
