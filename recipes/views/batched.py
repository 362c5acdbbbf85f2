"""Augmented views of whole batches, on the training device.

Lightly's transforms change one PIL image at a time in a worker. Here the same changes
are made to a batch of tensors at once, with random parameters for each image.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.recipes.views.colour import (
    blur,
    brightness,
    contrast,
    hue,
    luma,
    saturation,
)
from rkdo_plugin.recipes.views.view import View

RATIO = (3 / 4, 4 / 3)  # of a crop's width to its height
ATTEMPTS = 10  # at a crop that fits, before the largest one in the middle


class BatchedViews(nn.Module):
    """Views of batches of images.

    Args:
        views: How each view is made.
        mean: Mean of each channel, of intensities in [0, 1].
        std: Standard deviation of each channel, of intensities in [0, 1].

    Example:
        >>> views = BatchedViews([View(28), View(28), View(14)], [0.5], [0.25])
        >>> images = torch.zeros(8, 1, 28, 28, dtype=torch.uint8)
        >>> [tuple(view.shape) for view in views([images])]
        [(8, 1, 28, 28), (8, 1, 28, 28), (8, 1, 14, 14)]
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, views: Sequence[View], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.settings = tuple(views)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], False)

    @torch.no_grad()
    def forward(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """One tensor (B, C, H, W) a view, of its size, normalised.

        Args:
            sources: Images (B, C, H, W) uint8 of the first view. A second tensor holds
                the images of the other views, where these show partners.
        """
        images = [source.float() / 255 for source in sources]
        return [
            (augment(images[min(v, len(images) - 1)], view) - self.mean) / self.std
            for v, view in enumerate(self.settings)
        ]


def augment(images: Tensor, view: View) -> Tensor:
    """Images (B, C, H, W) in [0, 1], each augmented with parameters of its own."""
    images = crop_and_flip(images, *random_boxes(images, view.scale), view)
    jittered = _chosen(images, view.jitter)
    images[jittered] = jitter(images[jittered], view)
    if images.shape[1] == 3 and view.grayscale:
        gray = _chosen(images, view.grayscale)
        images[gray] = luma(images[gray]).expand(-1, 3, -1, -1)
    last = (_blur, _solarize)
    for change in reversed(last) if view.solarize_first else last:
        change(images, view)
    return images


def _blur(images: Tensor, view: View) -> None:
    if not view.blur:
        return
    blurred = _chosen(images, view.blur)
    if len(blurred) == 0:  # no convolution takes an empty batch
        return
    low, high = view.sigmas
    sigmas = torch.empty(len(blurred), device=images.device).uniform_(low, high)
    # As Pillow's, the kernel fades within three standard deviations.
    images[blurred] = blur(images[blurred], sigmas, radius=math.ceil(3 * high))


def _solarize(images: Tensor, view: View) -> None:
    if not view.solarize:
        return
    inverted = _chosen(images, view.solarize)
    bright = images[inverted]
    images[inverted] = torch.where(bright >= 0.5, 1 - bright, bright)


def random_boxes(
    images: Tensor, scale: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Left, top, width and height (B,) of random crops, in whole pixels.

    The area is uniform, and so is the logarithm of the aspect ratio. The first of ten
    attempts that fits into the image counts; if none fits, the whole image is the box.
    """
    size, height, width = len(images), *images.shape[2:]
    draws = torch.rand(4, ATTEMPTS, size, device=images.device)
    area = (scale[0] + (scale[1] - scale[0]) * draws[0]) * (height * width)
    low, high = torch.tensor(RATIO).log().tolist()
    ratio = (low + (high - low) * draws[1]).exp()
    w, h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.int().argmax(dim=0, keepdim=True)
    fitting = fits.any(dim=0)
    w = torch.where(fitting, w.gather(0, first)[0], float(width))
    h = torch.where(fitting, h.gather(0, first)[0], float(height))
    left = (draws[2, 0] * (width - w + 1)).floor().clamp(max=width - w)
    top = (draws[3, 0] * (height - h + 1)).floor().clamp(max=height - h)
    return left, top, w, h


def crop_and_flip(
    images: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor, view: View
) -> Tensor:
    """Boxes (B,) of images, resized bilinearly to the view's size, some mirrored.

    Pixels outside the box have no influence.
    """
    flipped = torch.rand(len(images), device=images.device) < view.flip
    down, across = (
        (torch.arange(side, device=images.device) + 0.5) / side
        for side in sides(view.size)
    )
    across = torch.where(flipped[:, None], 1 - across, across)
    x = _within(left, width, across, images.shape[3])
    y = _within(top, height, down.expand(len(images), -1), images.shape[2])
    x, y = x[:, None, :].expand(-1, len(down), -1), y[:, :, None]
    grid = torch.stack([x, y.expand_as(x)], dim=3)
    return functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    )


def _within(start: Tensor, length: Tensor, steps: Tensor, size: int) -> Tensor:
    """Positions (B, S) along a box, in grid_sample's unit: -1 to 1 across the image."""
    start, length = start[:, None], length[:, None]
    pixels = start + steps * length
    inside = pixels.clamp(start + 0.5, start + length - 0.5)
    return 2 * inside / size - 1


def jitter(images: Tensor, view: View) -> Tensor:
    """Brightness, contrast, saturation and hue, in an order drawn for the batch."""
    for change in torch.randperm(4).tolist():
        images = _change(images, change, view)
    return images


def _change(images: Tensor, change: int, view: View) -> Tensor:
    range_ = (view.brightness, view.contrast, view.saturation, view.hue)[change]
    if range_ is None or (change >= 2 and images.shape[1] != 3):
        return images
    low, high = range_
    draws = torch.rand(len(images), 1, 1, 1, device=images.device)
    factor = low + (high - low) * draws
    if change == 0:
        return brightness(images, factor)
    if change == 1:
        return contrast(images, factor)
    if change == 2:
        return saturation(images, factor)
    return hue(images, factor)


def _chosen(images: Tensor, probability: float) -> Tensor:
    """Indices of the images that are changed, each with this probability."""
    draws = torch.rand(len(images), device=images.device)
    return (draws < probability).nonzero()[:, 0]
