"""Views of batches are those of torchvision and Lightly, an image at a time."""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from rkdo_plugin.recipes.views import batched
from rkdo_plugin.recipes.views.batched import View

IMAGES = torch.rand(16, 3, 20, 24, generator=torch.Generator().manual_seed(0))


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
