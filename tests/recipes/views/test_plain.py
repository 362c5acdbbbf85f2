"""Images that only change their size."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from rkdo_plugin.recipes.views.plain import fitted

SIDES = st.integers(1, 60)


def picture(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@given(SIDES, SIDES, SIDES)
def test_a_square_is_torchvisions_resize_and_centre_crop(height, width, size):
    image = picture(height, width)
    expected = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])
    assert np.array_equal(fitted(image, size), expected(image))
    tensor = v2.functional.to_image(image)
    assert torch.equal(fitted(tensor, size), expected(tensor))


@given(SIDES, SIDES, st.tuples(SIDES, SIDES))
def test_any_size_is_covered_by_the_least_enlargement(height, width, size):
    """A white image stays white: nothing is padded; one axis is shown as a whole."""
    white = Image.new("L", (width, height), 255)
    found = np.asarray(fitted(white, size))
    assert found.shape == size
    assert (found == 255).all()
    ramp = np.arange(height)[:, None] * (width + 1) + np.zeros(width)
    scale = max(size[0] / height, size[1] / width)
    # The resized image is longer than asked for along one axis at most.
    over = [
        side * scale - wanted for side, wanted in zip(ramp.shape, size, strict=True)
    ]
    assert min(abs(side) for side in over) < 1e-9


def test_the_middle_of_the_longer_axis_stays():
    pixels = np.zeros((40, 90), np.uint8)
    pixels[:, 35:55] = 255  # the middle 20 columns
    found = np.asarray(fitted(Image.fromarray(pixels), (40, 20)))
    assert (found == 255).all()
    tall = np.asarray(fitted(Image.fromarray(pixels.T.copy()), (20, 40)))
    assert (tall == 255).all()
