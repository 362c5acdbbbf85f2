"""Pictures become arrays of an encoder's size."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from rkdo_plugin.recipes.data.images import fitted

SIDES = st.integers(1, 60)


@given(SIDES, SIDES, SIDES)
def test_a_square_is_torchvisions_resize_and_centre_crop(height, width, size):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels)
    expected = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])(image)
    np.testing.assert_array_equal(fitted(image, size), np.asarray(expected))


@given(SIDES, SIDES, st.tuples(SIDES, SIDES))
def test_nothing_is_padded(height, width, size):
    white = Image.new("L", (width, height), 255)
    found = fitted(white, size)
    assert found.shape == (*size, 1) and (found == 255).all()


def test_the_middle_of_the_longer_axis_stays():
    pixels = np.zeros((40, 90), np.uint8)
    pixels[:, 35:55] = 255  # the middle 20 columns
    assert (fitted(Image.fromarray(pixels), (40, 20)) == 255).all()
    assert (fitted(Image.fromarray(pixels.T.copy()), (20, 40)) == 255).all()
    assert (fitted(pixels[:, :, None].repeat(5, axis=2), (40, 20)) == 255).all()
