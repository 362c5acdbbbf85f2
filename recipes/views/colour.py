"""Changes of colour and sharpness, of a batch of images with a strength for each."""

import torch
from torch import Tensor
from torch.nn import functional

GRAY = (0.2989, 0.587, 0.114)  # luma of red, green and blue, as torchvision's


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Intensities times a factor (B, 1, 1, 1), clipped to [0, 1]."""
    return (images * factor).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Distances from the mean luma times a factor (B, 1, 1, 1), clipped."""
    mean = luma(images).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, factor).clamp_(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Distances from the luma times a factor (B, 1, 1, 1), clipped."""
    return torch.lerp(luma(images), images, factor).clamp_(0, 1)


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Hues turned by a part (B, 1, 1, 1) of the colour wheel; value and chroma stay."""
    red, green, blue = images.unbind(dim=1)
    value, chroma = images.amax(dim=1), images.amax(dim=1) - images.amin(dim=1)
    safe = chroma.clamp_min(1e-12)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * shift[:, 0]
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = (sector + offset).remainder_(6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, dim=1)


def blur(images: Tensor, sigmas: Tensor, radius: int) -> Tensor:
    """Gaussian blur of images (B, C, H, W), each with its own sigma (B,) in pixels.

    The kernel is cut off at the radius, in pixels.
    """
    batch, channels, height, width = images.shape
    radius = min(radius, height - 1, width - 1)
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigmas[:, None]).square())
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(channels, 0)
    flat = images.reshape(1, batch * channels, height, width)
    padded = functional.pad(flat, (radius,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel[:, None, :, None], groups=len(kernel))
    both = functional.conv2d(rows, kernel[:, None, None, :], groups=len(kernel))
    return both.reshape(images.shape)


def luma(images: Tensor) -> Tensor:
    """Luma (B, 1, H, W); an image of one channel is its own luma."""
    if images.shape[1] != 3:
        return images
    weights = torch.tensor(GRAY, device=images.device)[:, None, None]
    return (images * weights).sum(dim=1, keepdim=True)
