import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from rkdo_plugin.export.encoder.images import resize, sample_images


def picture(width, height, mode="RGB"):
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Image.fromarray(pixels)


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    size=st.integers(1, 40),
    mode=st.sampled_from(["L", "RGB"]),
)
def test_resize_equals_torchvisions_resize_and_centre_crop(width, height, size, mode):
    image = picture(width, height, mode)
    expected = transforms.Compose(
        [transforms.Resize(size), transforms.CenterCrop(size)]
    )
    channels = 3 if mode == "RGB" else 1
    got = resize(image, size, channels)
    assert got.shape == (size, size, channels) and got.dtype == np.uint8
    oracle = np.asarray(expected(image)).reshape(got.shape)
    np.testing.assert_array_equal(got, oracle)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_every_8_bit_mode_is_converted(mode):
    image = picture(9, 7).convert(mode)
    expected = np.asarray(image.convert("RGB").resize((7, 7), box=(1, 0, 8, 7)))
    assert resize(image, 7, 3).shape == expected.shape
    assert resize(image, 7, 1).shape == (7, 7, 1)


def test_16_bit_pixels_are_refused_rather_than_clipped():
    deep = Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    with pytest.raises(ValueError, match="8 bits for each channel but got PIL mode 'I"):
        resize(deep, 8, 1)
    with pytest.raises(ValueError, match="mode 'F'"):
        resize(Image.new("F", (8, 8)), 8, 1)


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 but got 4"):
        resize(Image.new("RGB", (8, 8)), 8, 4)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000)])
def test_a_strip_that_would_fill_the_memory_is_refused(size):
    with pytest.raises(
        ValueError, match="at most 100,000,000 pixels after the resize but"
    ):
        resize(Image.new("RGB", size), 224, 3)


def test_a_strip_may_have_as_many_pixels_as_the_limit(monkeypatch):
    monkeypatch.setattr("rkdo_plugin.export.encoder.images.MAX_RESIZED_PIXELS", 8 * 24)
    assert resize(Image.new("L", (3, 1)), 8, 1).shape == (8, 8, 1)
    with pytest.raises(ValueError, match="but got 32 x 8 from 4 x 1"):
        resize(Image.new("L", (4, 1)), 8, 1)


def test_sample_images_are_smooth_and_differ():
    images = sample_images(43, 32, 3).astype(float)
    steps = np.abs(np.diff(images, axis=1))
    assert np.median(steps) < 15 < images.std()  # white noise steps by 75
    flat = images.reshape(43, -1)
    distance = np.abs(flat[:, None] - flat).mean(axis=2) + 255 * np.eye(43)
    assert distance.min() > 5
