from fractions import Fraction

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


@settings(max_examples=40)
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


def test_16_bit_pixels_are_scaled_rather_than_clipped():
    deep = Image.fromarray(np.full((8, 8), 100 * 257, dtype=np.uint16))
    assert (resize(deep, 4, 1) == 100).all()


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 but got 4"):
        resize(Image.new("RGB", (8, 8)), 8, 4)
    with pytest.raises(ValueError, match=r"5 channels last but got \(8, 8, 4\)"):
        resize(np.zeros((8, 8, 4), np.uint8), 8, 5)


@settings(max_examples=40)
@given(
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    new=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_a_picture_covers_any_size_and_its_middle_stays(width, height, new):
    image = picture(width, height)
    scale = max(Fraction(new[0], height), Fraction(new[1], width))
    scaled = (int(height * scale), int(width * scale))
    expected = transforms.Compose(
        [transforms.Resize(scaled), transforms.CenterCrop(new)]
    )
    np.testing.assert_array_equal(resize(image, new, 3), np.asarray(expected(image)))


@settings(max_examples=20)
@given(
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    new=st.integers(1, 20) | st.tuples(st.integers(1, 20), st.integers(1, 20)),
    channels=st.integers(1, 7),
)
def test_each_band_of_an_array_is_resized_as_a_grey_picture(size, new, channels):
    bands = np.random.default_rng(0).integers(0, 256, (*size, channels), dtype=np.uint8)
    expected = [
        resize(Image.fromarray(bands[:, :, c]), new, 1) for c in range(channels)
    ]
    np.testing.assert_array_equal(
        resize(bands, new, channels), np.concatenate(expected, axis=2)
    )


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
