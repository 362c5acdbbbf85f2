"""Views of images have the moments of Lightly's, however they are made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from photographs import crops
from PIL import Image

from rkdo_plugin import create_recipe
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.views.transforms import (
    batched,
    multi_crop,
    raw_image,
    two_views,
)


def of_each_image(views):
    """What each image's views look like, (N, C): place, spread, detail, agreement."""
    found = {"difference of views": (views[0] - views[1]).abs().mean(dim=(2, 3))}
    for number, view in enumerate(views):
        mean, contrast = view.mean(dim=(2, 3)), view.std(dim=(2, 3))
        detail = view.diff(dim=3).abs().mean(dim=(2, 3))
        of_view = {"mean": mean, "its square": mean.square(), "contrast": contrast}
        for name, values in {**of_view, "detail": detail}.items():
            found[f"{name} of view {number}"] = values
    return found


def digits():
    data = load_data("digits")
    return data, as_arrays(data.train, 28)[0][:150]


def photographs(size):
    """150 photographs of a square or a wide size."""
    height, width = sides(size)
    data = replace(
        load_data("digits"),
        name="photographs",
        channels=3,
        image_size=size,
        mean=(0.4,) * 3,
        std=(0.25,) * 3,
    )
    images = [Image.fromarray(crop) for crop in crops(150, 128)]
    shrunk = [np.asarray(image.resize((width, height))) for image in images]
    return data, np.stack(shrunk)


def dino(data):
    return multi_crop(data, 1, 16)


def assert_same_moments(data, pixels, transform):
    torch.manual_seed(0)
    np.random.seed(0)
    repeated = 2
    images = [Image.fromarray(np.squeeze(image)) for image in pixels]
    each = [transform(image) for image in images * repeated]
    theirs = [torch.stack([views[v] for views in each]) for v in (0, 1)]
    batches = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(20) * repeated
    whole = [batched(transform, data)([batch])[:2] for batch in batches]
    ours = [torch.cat(views) for views in zip(*whole, strict=True)]
    expected = of_each_image(theirs)
    for name, found in of_each_image(ours).items():
        difference = found - expected[name]
        # Four standard errors, and what 8 bits and another resize may change.
        allowed = 4 * difference.std(dim=0) / len(difference) ** 0.5
        allowed += 0.02 + 0.05 * expected[name].mean(dim=0).abs()
        assert (difference.mean(dim=0).abs() <= allowed).all(), name


@pytest.mark.parametrize("single", [two_views, dino])
@pytest.mark.parametrize("images", [digits, lambda: photographs(32)])
def test_views_of_small_batches_have_the_moments_of_lightlys(single, images):
    data, pixels = images()
    assert_same_moments(data, pixels, single(data))


@pytest.mark.parametrize("recipe", ["byol", "vicreg", "dino"])
def test_published_views_of_batches_have_the_moments_of_lightlys(recipe):
    data, pixels = photographs(64)
    assert_same_moments(data, pixels, create_recipe(recipe).views(data))


def test_views_that_are_not_square_have_the_moments_of_lightlys():
    data, pixels = photographs((96, 64))
    assert_same_moments(data, pixels, create_recipe("byol").views(data))


@pytest.mark.parametrize("recipe", ["byol", "vicreg", "dino", "simclr"])
@pytest.mark.parametrize(
    ("size", "local"), [((128, 64), (54, 27)), ((32, 48), (16, 24)), (96, (41, 41))]
)
def test_views_are_of_the_images_size_and_local_crops_of_its_shape(recipe, size, local):
    data, _ = photographs(size)
    views = create_recipe(recipe).views(data)
    image = Image.new("RGB", (120, 100), (200, 30, 90))
    whole = batched(views, data)([torch.stack(raw_image(data)(image))])
    expected = [(3, *sides(size))] * 2 + [(3, *local)] * 4 * (recipe == "dino")
    assert [tuple(view.shape) for view in views(image)] == expected
    assert [tuple(view.shape[1:]) for view in whole] == expected


@pytest.mark.parametrize(
    ("size", "given", "local"),
    [(224, None, 96), (224, 64, 64), ((256, 128), 32, (64, 32)), (28, None, 14)],
)
def test_local_crops_are_those_of_dino_unless_they_are_given(size, given, local):
    data, _ = photographs(size)
    crop = multi_crop(data, 1, given).transforms[2].transform.transforms[0]
    assert tuple(crop.size) == sides(local)


def test_recipes_that_do_not_augment_have_no_batched_views():
    data, _ = digits()
    for recipe in ("cluster", "map2d"):
        with pytest.raises(ValueError, match="augmented views with augment='batches'"):
            create_recipe(recipe, in_channels=1, image_size=28).batched_views(data)


@pytest.mark.parametrize("size", [20, (12, 30)])
def test_raw_images_are_the_pixels_themselves_where_the_size_fits(size):
    data, pixels = photographs(size)
    first, second = raw_image(data, copies=2)(Image.fromarray(pixels[0]))
    assert torch.equal(first.permute(1, 2, 0), torch.from_numpy(pixels[0]))
    assert first is second
