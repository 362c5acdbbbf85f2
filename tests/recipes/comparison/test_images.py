from dataclasses import replace

import numpy as np
import pytest

from rkdo_plugin.recipes.comparison.images import (
    comparison_images,
    fingerprint,
    kept_back,
)
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.held import hold
from rkdo_plugin.recipes.data.images import as_arrays


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", limit=100)


def test_test_images_are_used_as_they_are(digits):
    images = comparison_images(digits)
    for part in ("train", "test"):
        pixels, labels = as_arrays(getattr(digits, part), digits.image_size)
        assert np.array_equal(getattr(images, part).pixels, pixels)
        assert np.array_equal(getattr(images, part).targets, labels)


def test_images_are_kept_back_evenly_from_all_classes(digits):
    images = kept_back(digits)
    pixels, labels = as_arrays(digits.train, digits.image_size)
    assert np.bincount(images.test.targets).tolist() == [2] * 10
    assert np.bincount(images.train.targets).tolist() == [8] * 10
    both = np.concatenate([images.train.pixels, images.test.pixels])
    assert sorted(map(bytes, both)) == sorted(map(bytes, pixels))
    found = {bytes(image): label for image, label in zip(pixels, labels, strict=True)}
    for part in (images.train, images.test):
        for image, label in zip(part.pixels, part.targets, strict=True):
            assert found[bytes(image)] == label


def test_without_test_images_some_are_kept_back(digits):
    images = comparison_images(replace(digits, test=[], num_classes=0))
    assert (len(images.train), len(images.test)) == (80, 20)
    few = replace(digits, train=hold(digits).train.part(np.arange(3)), test=[])
    with pytest.raises(ValueError, match=r"at least 5 training images.*digits has 3"):
        comparison_images(few)


def test_the_fingerprint_is_of_images_labels_and_size(digits):
    images = comparison_images(digits)
    assert fingerprint(images) == fingerprint(comparison_images(digits))
    changed = [replace(images, test=images.train), replace(images, image_size=14)]
    for name in ("pixels", "targets"):
        other = comparison_images(digits)
        getattr(other.test, name)[3] += 1
        changed.append(other)
    assert len({*map(fingerprint, [images, *changed])}) == 5
