import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from rkdo_plugin import create_recipe
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.label_free import measure_label_free, two_views
from rkdo_plugin.recipes.evaluation.measures import (
    alignment,
    alpha_req,
    rank_me,
    uniformity,
)


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", limit=300)


def some_pixels(images):
    """Features (N, 49) of images (N, 28, 28, 1)."""
    return images[:, ::4, ::4].reshape(len(images), -1).astype(np.float32)


class Same(nn.Module):
    """Views that are the images themselves, and their negatives."""

    def __init__(self, data):
        super().__init__()
        assert (data.mean, data.std) == ((0.0,), (1.0,))  # embedding normalises

    def forward(self, sources):
        images = sources[0] / 255
        return [images, 1 - images, torch.full_like(images, torch.nan)]


def test_the_figures_are_those_of_the_measures(digits):
    pixels, _ = as_arrays(digits.train, 28)
    features = some_pixels(pixels)
    found = measure_label_free(features, some_pixels, digits, Same)
    assert (found.images, found.dim, found.pairs) == (300, 49, 300)
    assert found.rank_me == rank_me(features)
    assert found.alpha == alpha_req(features)
    assert found.uniformity == uniformity(features)
    other = some_pixels(255 - pixels)
    assert found.alignment == pytest.approx(alignment(features, other))
    shuffled = np.roll(other, 1, axis=0)
    assert found.unaligned == pytest.approx(alignment(features, shuffled))
    assert f"{found.alignment:8.4f}  between two views of an image" in str(found)


@pytest.mark.parametrize("recipe", ["simclr", "dino"])
def test_views_are_those_of_the_recipe_and_of_the_seed(recipe, digits):
    views = create_recipe(recipe, in_channels=1, image_size=28).batched_views
    some = draw(digits.train, 20, seed=0)
    state = torch.get_rng_state()
    first, second = two_views(some, digits, views, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    again = two_views(some, digits, views, seed=3)
    np.testing.assert_array_equal([first, second], again)
    torch.manual_seed(3)
    pixels, _ = as_arrays(some, 28)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for found, view in zip((first, second), views(digits)([images]), strict=False):
        shown = view.permute(0, 2, 3, 1).numpy() * digits.std + digits.mean
        np.testing.assert_allclose(found, shown * 255, atol=0.51)
    assert (first != second).any()
    assert (two_views(some, digits, views, seed=4)[0] != first).any()


def test_views_that_are_missing_are_said_to_be(digits):
    features = np.random.default_rng(0).normal(size=(50, 20))

    def refuse(data):
        raise ValueError("other views")

    for views, reason in ((None, "the file has no views"), (refuse, "other views")):
        found = measure_label_free(features, some_pixels, digits, views)
        assert found.alignment is None
        assert f"alignment   not measured: {reason}" in str(found)


def test_what_is_drawn_of_many_images_depends_on_the_seed(digits, monkeypatch):
    module = "rkdo_plugin.recipes.evaluation.label_free"
    monkeypatch.setattr(f"{module}.IMAGES", 40)
    features = np.random.default_rng(0).normal(size=(200, 20))
    first, again, other = (
        measure_label_free(features, some_pixels, digits, None, seed)
        for seed in (0, 0, 1)
    )
    assert first == again and first.images == 40
    names = ("rank_me", "alpha", "uniformity")
    values = dataclasses.asdict(first), dataclasses.asdict(other)
    assert all(values[0][name] != values[1][name] for name in names)
