"""Two augmented views of an image, by Lightly's SimCLR transform."""

from collections.abc import Callable
from typing import Any

from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image

from rkdo_plugin.recipes.data import ImageData

# Settings for small images, below BLUR_FROM pixels; Lightly's own CIFAR recipes agree.
MIN_SCALE = 0.3  # smallest crop, as a fraction of the area
JITTER = 0.5  # strength of brightness, contrast and colour changes
BLUR_FROM = 64  # smaller images carry no detail that a blur could hide
NOT_MIRRORED = {"digits"}  # a mirrored digit is no digit

Views = Callable[[Image.Image], Any]  # to a list of tensors (C, H, W)


def two_views(data: ImageData) -> Views:
    """The transform from a PIL image to two augmented tensors (C, H, W).

    BYOL's transform differs from SimCLR's in blur and solarisation, which small images
    go without, so that every recipe here shares this one.

    Args:
        data: Gives size, channels, mean and standard deviation.
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
