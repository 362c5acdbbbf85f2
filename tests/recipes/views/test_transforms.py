"""Views of images have the moments of Lightly's, however they are made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from photographs import crops
from PIL import Image

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.views.transforms import (
    batched_multi_crop,
    batched_two_views,
    multi_crop,
    two_views,
)


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
        photographs = [Image.fromarray(crop) for crop in crops(200, 64)]
        pixels = np.stack([np.asarray(p.resize((32, 32))) for p in photographs])
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


def test_colour_images_keep_three_channels():
    data = replace(
        load_data("digits"),
        channels=3,
        image_size=96,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    views = two_views(data)(Image.new("RGB", (120, 100), (200, 30, 90)))
    assert [view.shape for view in views] == [(3, 96, 96)] * 2
