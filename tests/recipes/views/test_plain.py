"""Images that only change their size."""

import numpy as np
import pytest
import torch
from PIL import Image

from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.views.plain import plain_view


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_middle_of_a_picture_is_normalised(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, channels), np.uint8)
    mean = np.linspace(0.2, 0.6, channels)
    std = np.linspace(0.2, 0.3, channels)
    data = ImageData("x", [], [], 6, channels, tuple(mean), tuple(std), 0)
    picture = pixels
    if channels != 5:
        picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    first, second = plain_view(data)(picture)
    expected = (pixels[:, 2:8] / 255 - mean) / std
    np.testing.assert_allclose(first.permute(1, 2, 0), expected, atol=1e-5)
    assert torch.equal(first, second)
