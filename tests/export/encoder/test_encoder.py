import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms.functional import normalize, to_tensor

from rkdo_plugin.export import Encoder

SIZE_32 = {"image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}


def test_embedding_is_the_normalised_feature_of_normalised_pixels(
    make_small, oracle, images
):
    encoder = make_small()
    expected = oracle(encoder, images)
    got = encoder(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert encoder.dim == got.shape[1] == 96


@pytest.mark.parametrize("any_size", [False, True])
def test_pixels_are_prepared_bit_by_bit_as_in_training(images, any_size):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    backbone = nn.AdaptiveAvgPool2d(1)
    encoder = Encoder(backbone, image_size=16, mean=mean, std=std, any_size=any_size)
    expected = torch.stack(
        [normalize(to_tensor(image), mean=mean, std=std) for image in images]
    )
    got = encoder.prepare(torch.from_numpy(images))
    torch.testing.assert_close(got, expected, atol=0, rtol=0)


@pytest.mark.parametrize("size", [1, 4])
def test_feature_maps_are_averaged(size):
    maps = nn.AdaptiveAvgPool2d(size)
    encoder = Encoder(maps, image_size=8, mean=[0.5] * 3, std=[0.5] * 3)
    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    mean = (image.double() / 255 - 0.5).mul(2).mean(dim=(1, 2))
    expected = mean / mean.norm()
    torch.testing.assert_close(encoder(image).double(), expected, atol=1e-6, rtol=0)


def test_zero_features_stay_zero():
    class Dead(nn.Module):
        def forward(self, images):
            return images.flatten(1) * 0

    encoder = Encoder(Dead(), image_size=2, mean=[0.5], std=[0.5])
    assert encoder(torch.ones(3, 2, 2, 1, dtype=torch.uint8)).eq(0).all()


def test_the_module_passed_in_is_left_as_it_was():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    encoder = Encoder(backbone, image_size=8, mean=[0.5] * 3, std=[0.5] * 3)
    encoder(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))
    assert backbone.training and backbone[0].weight.requires_grad
    for name, value in backbone.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_train_does_not_leave_eval_mode(make_small):
    encoder = make_small()
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


class Tokens(nn.Module):
    def forward(self, images):
        return images.flatten(2)


class Pair(nn.Module):
    def forward(self, images):
        return images, images


@pytest.mark.parametrize(
    ("backbone", "got"), [(Tokens(), r"shape \(1, 1, 16\)"), (Pair(), "tuple")]
)
def test_other_outputs_are_refused(backbone, got):
    with pytest.raises(ValueError, match=rf"features \(B, D\).*{got}"):
        Encoder(backbone, image_size=4, mean=[0.5], std=[0.5])


def test_a_network_of_one_size_is_refused():
    vit = torchvision.models.VisionTransformer(32, 16, 1, 2, 24, 48)
    with pytest.raises(ValueError, match=r"image of 32 x 65 pixels it gives: Wrong"):
        Encoder(vit, any_size=True, **SIZE_32)


def test_features_that_grow_with_the_image_are_refused():
    with pytest.raises(ValueError, match="components, and 3072 at"):
        Encoder(nn.Flatten(), any_size=True, **SIZE_32)


def test_a_size_that_the_backbone_does_not_take_is_refused():
    half = [0.5] * 3
    message = "`image_size` .* the backbone Conv2d takes but with 4 it says: .*Kernel"
    with pytest.raises(ValueError, match=message):
        Encoder(nn.Conv2d(3, 4, 7), image_size=4, mean=half, std=half)
