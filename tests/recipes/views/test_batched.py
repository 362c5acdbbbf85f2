"""Views of batches are those of torchvision and Lightly, an image at a time."""

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.recipes.views import batched
from rkdo_plugin.recipes.views.view import View

IMAGES = torch.rand(16, 3, 20, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [32, (40, 32)])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_crops_are_torchvisions(flip, size):
    torch.manual_seed(2)
    boxes = batched.random_boxes(IMAGES, (0.1, 0.6))
    view = View(size, flip=flip)
    found = batched.crop_and_flip(IMAGES, *boxes, view)
    for number, image in enumerate(IMAGES):
        left, top, width, height = (int(side[number]) for side in boxes)
        expected = functional.resized_crop(
            image, top, left, height, width, list(sides(size)), antialias=False
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
    view = View(8, jitter=0.8, brightness=(0.2, 1.8), hue=(-0.2, 0.2), solarize=0.5)
    views = batched.BatchedViews([view] * 2, [0.0] * 3, [1.0] * 3)
    first, second = views([same])
    assert torch.equal(same, before)
    assert len(first.flatten(1).unique(dim=0)) > 50
    assert not torch.equal(first, second)


def test_a_partner_gives_the_other_views():
    black, white = torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 255)
    views = batched.BatchedViews([View(8)] * 3, [0.5], [0.5])
    first, *others = views([black.byte(), white.byte()])
    assert first.unique().tolist() == [-1.0]
    assert all(other.unique().tolist() == [1.0] for other in others)


def test_solarisation_and_blur_come_in_the_order_of_the_view():
    stripes = torch.tensor([0, 200]).repeat(8).expand(1, 1, 16, 16)
    settings = {"scale": (1.0, 1.0), "blur": 1.0, "sigmas": (2.0, 2.0), "solarize": 1.0}
    for first, mean in ((False, 100), (True, 27.5)):
        view = View(16, solarize_first=first, **settings)
        (found,) = batched.BatchedViews([view], [0.0], [1 / 255])([stripes.byte()])
        # Blurred stripes are 100 all over, which is not bright; inverted, 0 and 55.
        middle = found[:, :, 6:-6, 6:-6]
        torch.testing.assert_close(
            middle, torch.full_like(middle, mean), atol=2, rtol=0
        )


def test_a_batch_of_which_no_image_is_blurred_stays_sharp():
    squares = IMAGES[..., :20].contiguous()
    view = View(20, (1.0, 1.0), blur=1e-9)
    found = batched.augment(squares, view)
    torch.testing.assert_close(found, squares, atol=1e-5, rtol=0)


def test_a_wide_blur_is_not_cut_off():
    spot = torch.zeros(1, 1, 81, 81)
    spot[..., 40, 40] = 1
    view = View(81, (1.0, 1.0), blur=1.0, sigmas=(6.0, 6.0))
    found = batched.augment(spot, view)[0, 0, 40]
    offsets = torch.arange(81) - 40
    variance = (found * offsets.square()).sum() / found.sum()
    assert abs(variance.sqrt() - 6) < 0.15
