"""Changes of colour and blur of a batch are torchvision's."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from rkdo_plugin.recipes.views import colour

IMAGES = torch.rand(16, 3, 20, 24, generator=torch.Generator().manual_seed(0))


def factors(low, high):
    draws = torch.rand(len(IMAGES), generator=torch.Generator().manual_seed(1))
    return (low + (high - low) * draws)[:, None, None, None]


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high"),
    [
        (colour.brightness, functional.adjust_brightness, 0.2, 1.8),
        (colour.contrast, functional.adjust_contrast, 0.2, 1.8),
        (colour.saturation, functional.adjust_saturation, 0.2, 1.8),
        (colour.hue, functional.adjust_hue, -0.5, 0.5),
    ],
)
def test_colours_change_as_torchvisions_do(ours, theirs, low, high):
    factor = factors(low, high)
    expected = torch.stack(
        [theirs(i, float(f)) for i, f in zip(IMAGES, factor, strict=True)]
    )
    torch.testing.assert_close(ours(IMAGES, factor), expected, atol=2e-6, rtol=0)


def test_hue_leaves_grays_alone():
    gray = torch.full((16, 3, 4, 4), 0.3)
    torch.testing.assert_close(colour.hue(gray, factors(-0.5, 0.5)), gray)


def test_blur_is_torchvisions():
    sigmas = torch.linspace(0.3, 1.9, len(IMAGES))
    found = colour.blur(IMAGES, sigmas, radius=6)
    for image, sigma, blurred in zip(IMAGES, sigmas, found, strict=True):
        expected = functional.gaussian_blur(image, [13, 13], [float(sigma)])
        inside = (slice(None), slice(6, -6), slice(6, -6))  # they reflect at borders
        torch.testing.assert_close(blurred[inside], expected[inside])
