"""Views of batches are those of torchvision and Lightly, an image at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.views import batched, colour
from rkdo_plugin.recipes.views.batched import View
from rkdo_plugin.recipes.views.transforms import (
    batched_multi_crop,
    batched_two_views,
    multi_crop,
    two_views,
)

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


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_crops_are_torchvisions(flip):
    torch.manual_seed(2)
    boxes = batched.random_boxes(IMAGES, (0.1, 0.6))
    view = View(32, flip=flip)
    found = batched.crop_and_flip(IMAGES, *boxes, view)
    for number, image in enumerate(IMAGES):
        left, top, width, height = (int(side[number]) for side in boxes)
        expected = functional.resized_crop(
            image, top, left, height, width, [32, 32], antialias=False
        )
        if flip:
            expected = expected.flip(-1)
        torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=0)


def test_boxes_are_distributed_as_torchvisions():
    torch.manual_seed(0)
    images = torch.zeros(4000, 1, 32, 40)
    ours = torch.stack(batched.random_boxes(images, (0.08, 1.0))).numpy()
    crop = v2.RandomResizedCrop(32, scale=(0.08, 1.0))
    drawn = [crop.make_params([images[0]]) for _ in range(4000)]
    names = ("left", "top", "width", "height")
    for side, values in zip(names, ours, strict=True):
        theirs = [box[side] for box in drawn]
        assert ks_2samp(values, theirs).pvalue > 1e-3, side
    assert (ours[0] + ours[2] <= 40).all()
    assert (ours[1] + ours[3] <= 32).all()


def test_blur_is_torchvisions():
    sigmas = torch.linspace(0.3, 1.9, len(IMAGES))
    found = colour.blur(IMAGES, sigmas)
    for image, sigma, blurred in zip(IMAGES, sigmas, found, strict=True):
        expected = functional.gaussian_blur(image, [13, 13], [float(sigma)])
        inside = (slice(None), slice(6, -6), slice(6, -6))  # they reflect at borders
        torch.testing.assert_close(blurred[inside], expected[inside])


def test_every_image_has_parameters_of_its_own_and_sources_are_kept():
    torch.manual_seed(0)
    same = torch.full((64, 3, 8, 8), 90, dtype=torch.uint8)
    same[:, 0] = 200
    before = same.clone()
    views = batched.BatchedViews([View(8, solarize=0.5)] * 2, [0.0] * 3, [1.0] * 3)
    first, second = views([same])
    assert torch.equal(same, before)
    assert len(first.flatten(1).unique(dim=0)) > 50
    assert not torch.equal(first, second)


def test_a_partner_gives_the_other_views():
    black, white = torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 255)
    view = View(8, brightness=0.0, contrast=0.0, blur=0.0)
    views = batched.BatchedViews([view] * 3, [0.5], [0.5])
    first, *others = views([black.byte(), white.byte()])
    assert first.unique().tolist() == [-1.0]
    assert all(other.unique().tolist() == [1.0] for other in others)


def photographs(size):
    """Crops of scikit-learn's photographs, in colour."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    pixels = []
    for _ in range(200):
        photo = load_sample_images().images[random.integers(2)]
        y, x = random.integers(0, 400 - 64), random.integers(0, 600 - 64)
        patch = Image.fromarray(photo[y : y + 64, x : x + 64]).resize((size, size))
        pixels.append(np.asarray(patch))
    return np.stack(pixels)


def moments(views):
    """What a distribution of views looks like: location, spread, detail, agreement."""
    first, second = views
    return {
        "mean": first.mean(dim=(0, 2, 3)),
        "std": first.std(dim=(0, 2, 3)),
        "std of image means": first.mean(dim=(2, 3)).std(dim=0),
        "contrast": first.std(dim=(2, 3)).mean(dim=0),
        "detail": first.diff(dim=3).abs().mean(dim=(0, 2, 3)),
        "difference of views": (first - second).abs().mean(dim=(0, 2, 3)),
    }


@pytest.mark.parametrize(
    ("single", "whole"),
    [
        (two_views, batched_two_views),
        (lambda d: multi_crop(d, 1, 16), lambda d: batched_multi_crop(d, 1, 16)),
    ],
)
@pytest.mark.parametrize("colour", [False, True])
def test_views_have_the_moments_of_lightlys(single, whole, colour):
    digits = load_data("digits")
    if colour:
        pixels = photographs(32)
        data = replace(
            digits,
            name="photographs",
            channels=3,
            image_size=32,
            mean=(0.4,) * 3,
            std=(0.25,) * 3,
        )
    else:
        pixels, data = as_arrays(digits.train, 28)[0][:400], digits
    torch.manual_seed(0)
    np.random.seed(0)
    images = [Image.fromarray(np.squeeze(image)) for image in pixels]
    repeated = 4
    transform = single(data)
    each = [transform(image) for image in images * repeated]
    theirs = [torch.stack([views[v] for views in each]) for v in (0, 1)]
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).repeat(repeated, 1, 1, 1)
    ours = whole(data)([tensor])[:2]
    expected = moments(theirs)
    for name, found in moments(ours).items():
        # Of some 1,000 images, whose own differences are of the order of 1.
        torch.testing.assert_close(
            found, expected[name], atol=0.05, rtol=0.05, msg=lambda m, n=name: n + m
        )
