"""Views of batches on the device are those of the CPU, from the same draws."""

from dataclasses import replace

import pytest
import torch
from lightly.transforms import DINOTransform, SimCLRTransform
from lightly.transforms.byol_transform import BYOLView2Transform
from torch.testing import assert_close

from rkdo_plugin.recipes.views.batched import BatchedViews
from rkdo_plugin.recipes.views.view import View, read_view

pytestmark = pytest.mark.gpu

MEAN, STD = [0.48, 0.45, 0.41], [0.23, 0.22, 0.26]
GREY_LEVEL = 1 / 255 / min(STD)


def fixed_blur(view: View) -> View:
    """Sigmas are drawn on the device; one sigma leaves nothing to draw."""
    return replace(view, sigmas=(1.0, 1.0))


def published(size: int) -> dict[str, View]:
    """The settings of published views, in which every change occurs."""
    dino = DINOTransform(global_crop_size=size, local_crop_size=size // 2)
    views = {
        "simclr": SimCLRTransform(input_size=size).transforms[0],
        "byol": BYOLView2Transform(input_size=size),
        "dino": dino.transforms[1],
        "dino-local": dino.transforms[2],
    }
    return {name: fixed_blur(read_view(view)) for name, view in views.items()}


@pytest.fixture
def same_draws(monkeypatch):
    """Uniform draws come from the CPU's generator, on whatever device they are used."""
    rand = torch.rand

    def on_the_cpu(*shape, device=None, **options):
        return rand(*shape, **options).to(device)

    monkeypatch.setattr(torch, "rand", on_the_cpu)


@pytest.fixture
def images(on_gpu):
    count, side = (64, 256) if on_gpu else (16, 32)
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=torch.manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=side, mode="bilinear")
    return (255 * smooth).byte()


def on(device, images, view):
    torch.manual_seed(0)
    views = BatchedViews([view, view], MEAN, STD).to(device)
    found = views([images.to(device)])
    assert all(each.device.type == device.type for each in found)
    return [each.cpu() for each in found]


@pytest.mark.usefixtures("exact_products", "same_draws")
@pytest.mark.parametrize("name", ["simclr", "byol", "dino", "dino-local"])
def test_views_are_those_of_the_cpu(name, device, images):
    view = published(images.shape[2])[name]
    pairs = zip(
        on(device, images, view), on(torch.device("cpu"), images, view), strict=True
    )
    for found, expected in pairs:
        # Solarisation inverts from one half on: what rounding takes across it jumps.
        apart = (found - expected).abs() > 1e-3
        assert apart.float().mean() <= 1e-4


@pytest.mark.usefixtures("same_draws")
def test_a_blur_in_tf32_is_within_a_grey_level(device, images):
    """PyTorch's default for convolutions on a GPU."""
    view = View(images.shape[2], (1.0, 1.0), blur=1.0, sigmas=(2.0, 2.0))
    (found, _), (expected, _) = (
        on(where, images, view) for where in (device, torch.device("cpu"))
    )
    assert_close(found, expected, rtol=0, atol=GREY_LEVEL)


def test_the_seed_decides_on_the_device_too(device, images):
    """What a resumed run relies on: `torch.manual_seed` seeds every device."""
    view = replace(published(images.shape[2])["byol"], sigmas=(0.1, 2.0))
    first, second = on(device, images, view)
    assert not torch.equal(first, second)
    again = on(device, images, view)
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
