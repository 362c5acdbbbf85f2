"""Gradients against scikit-image and loops over pixels, and colours against loops."""

import math

import numpy as np
import pytest
from photographs import crops
from skimage.feature import hog

from rkdo_plugin.recipes.field.hog import (
    WEIGHT,
    colours,
    fine_histograms,
    fit_hog,
    gradients,
)


def noise(count, height, width, channels, seed=0):
    shape = (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def flowers(count=6, size=32):
    return np.stack(crops(count, size))


def scikit_images_histograms(image):
    """Shares of the lengths by places of 2 x 2 pixels and 18 orientations."""
    return hog(
        np.sqrt(np.float64(image).mean(axis=2)),
        orientations=18,
        pixels_per_cell=(2, 2),
        cells_per_block=(image.shape[0] // 2, image.shape[1] // 2),
        block_norm="L1",
        feature_vector=False,
    )[0, 0]


def halved(bins, circular):
    """Half as many bins along the first axis: a loop over linear interpolation."""
    count = len(bins) // 2
    halves = np.zeros((count, *bins.shape[1:]))
    for source in range(len(bins)):
        position = (source + 0.5) / 2 - 0.5  # in units of the wide bins, from centres
        low = math.floor(position)
        for target, part in ((low, 1 - position + low), (low + 1, position - low)):
            if circular or 0 <= target < count:
                halves[target % count] += part * bins[source]
    return halves


def shared_out(fine):
    rows = halved(fine, circular=False)
    columns = np.moveaxis(halved(np.moveaxis(rows, 1, 0), circular=False), 0, 1)
    return np.moveaxis(halved(np.moveaxis(columns, 2, 0), circular=True), 0, 2)


def square_roots(histograms):
    return np.sqrt(histograms / histograms.sum()).ravel()


@pytest.mark.parametrize("images", [flowers(), noise(4, 28, 28, 1), noise(4, 8, 20, 5)])
def test_histograms_are_scikit_images_where_opposite_directions_are_one(images):
    fine = fine_histograms(np.sqrt(images.mean(axis=3)))
    folded = fine[..., :18] + fine[..., 18:]
    shares = folded / folded.sum(axis=(1, 2, 3), keepdims=True)
    expected = [scikit_images_histograms(image) for image in images]
    np.testing.assert_allclose(shares, expected, atol=1e-7)


@pytest.mark.parametrize(
    "images", [flowers(), noise(3, 28, 28, 1), noise(3, 30, 31, 2), noise(2, 4, 4, 5)]
)
def test_orientations_are_scikit_images_shared_out_between_bins(images):
    rows, columns = (size // 4 for size in images.shape[1:3])
    expected = []
    for image in images:
        fine = scikit_images_histograms(image)[: 2 * rows, : 2 * columns]
        expected.append(square_roots(shared_out(fine)))
    orientations = gradients(images)[:, rows * columns * 18 :] * math.sqrt(2)
    np.testing.assert_allclose(orientations, expected, atol=1e-5)


def test_directions_are_a_loop_over_pixels():
    images = noise(2, 12, 9, 3)
    expected = []
    for image in images:
        levels = np.sqrt(np.float64(image).mean(axis=2))
        fine = np.zeros((6, 4, 36))
        for row in range(12):
            for column in range(8):  # the cell of column 8 is incomplete
                down = right = 0
                if 0 < row < 11:
                    down = levels[row + 1, column] - levels[row - 1, column]
                if column > 0:
                    right = levels[row, column + 1] - levels[row, column - 1]
                degrees = math.degrees(math.atan2(down, right)) % 360
                length = math.hypot(down, right)
                fine[row // 2, column // 2, int(degrees // 10)] += length
        expected.append(square_roots(shared_out(fine)))
    directions = gradients(images)[:, : 3 * 2 * 18] * math.sqrt(2)
    np.testing.assert_allclose(directions, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 32, 3), (30, 7, 3), (4, 5, 1), (8, 9, 5)])
def test_colours_are_a_loop_over_the_parts_of_an_image(shape):
    images = noise(3, *shape)
    height, width, channels = shape
    expected = []
    for image in np.float64(images) / 255:
        for row in range(4):
            for column in range(4):
                part = image[
                    row * height // 4 : (row + 1) * height // 4,
                    column * width // 4 : (column + 1) * width // 4,
                ]
                c = [part[:, :, channel].mean() for channel in range(channels)]
                expected.append(sum(c) / channels)
                for after in range(1, channels):
                    expected.append(sum(c[:after]) / after - c[after])
    found = colours(images)
    assert found.shape == (3, 16 * channels)
    np.testing.assert_allclose(found.ravel(), expected, atol=1e-12)


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_colours_are_standardised_by_the_training_images(channels):
    images = noise(20, 16, 16, channels)
    images[:, :4, :4] = 7  # a part that never varies
    features, describe = fit_hog(images)
    count = 4 * 4 * 27
    np.testing.assert_array_equal(features[:, :count], gradients(images))
    part = np.float64(features[:, count:])
    varying = colours(images).std(axis=0) > 1e-9
    assert varying.sum() == 15 * channels
    expected = np.where(varying, WEIGHT / math.sqrt(16 * channels), 0)
    np.testing.assert_allclose(part.std(axis=0), expected, atol=1e-7)
    others = noise(3, 16, 16, channels, seed=1)
    scale = np.where(varying, colours(images).std(axis=0), 1) * math.sqrt(16 * channels)
    found = describe(others)
    np.testing.assert_allclose(
        found[:, count:], WEIGHT * colours(others) / scale, rtol=1e-5
    )


def test_a_grey_image_has_gradients_alone():
    images = noise(3, 28, 28, 1)
    features, describe = fit_hog(images)
    np.testing.assert_array_equal(features, gradients(images))
    np.testing.assert_array_equal(describe(images[1:]), features[1:])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_images_of_one_level_have_no_gradients_and_are_finite(channels):
    images = np.full((3, 16, 16, channels), 99, dtype=np.uint8)
    assert not gradients(images).any()
    features, describe = fit_hog(images)
    assert np.isfinite(features).all()
    assert (features == features[0]).all()
    assert np.isfinite(describe(noise(3, 16, 16, channels))).all()
    mixed = np.concatenate([images, noise(3, 16, 16, channels)])
    assert np.isfinite(fit_hog(mixed)[0]).all()


def test_gradients_have_length_1():
    lengths = np.linalg.norm(gradients(noise(600, 8, 8, 3)), axis=1)  # three chunks
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_a_darker_copy_has_the_same_gradients():
    images = flowers() // 4 * 4
    np.testing.assert_allclose(gradients(images // 4), gradients(images), atol=1e-6)
    rounded = np.rint(flowers() * 0.7).astype(np.uint8)
    cosines = (gradients(rounded) * gradients(flowers())).sum(axis=1)
    assert cosines.min() > 0.95  # between different crops: 0.60 to 0.85


def test_colours_of_the_same_grey_are_told_apart():
    images = flowers()
    blue = images[..., ::-1]
    features, _ = fit_hog(np.concatenate([images, blue]))
    count = 8 * 8 * 27
    np.testing.assert_allclose(features[:6, :count], features[6:, :count], atol=1e-6)
    apart = np.linalg.norm(features[:6] - features[6:], axis=1)
    assert apart.min() > 0.05


def test_dark_on_light_is_not_light_on_dark():
    ramp = np.tile(np.arange(0, 96, 3, dtype=np.uint8), (32, 1))
    both = gradients(np.stack([ramp, ramp[:, ::-1]])[..., None])
    directions, orientations = both[:, : 64 * 18], both[:, 64 * 18 :]
    assert not (directions[0] * directions[1]).any()
    cells = orientations.reshape(2, 8, 8, 9)
    np.testing.assert_allclose(cells[0], cells[1, :, ::-1], atol=1e-6)


def test_images_smaller_than_a_cell_are_refused():
    with pytest.raises(ValueError, match="at least 4 pixels for hog but got 3"):
        fit_hog(noise(2, 3, 8, 3))
