import pytest
import torch
from torch import nn

from rkdo_plugin.plugins.create import create_encoder
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim


@pytest.mark.parametrize(
    ("name", "channels", "size", "dim"),
    [
        ("small-convnet", 1, 28, 96),
        ("resnet18", 1, 28, 512),
        ("resnet18", 3, 64, 512),
        ("resnet50", 3, 32, 2048),
        ("timm:vit_tiny_patch16_224", 3, 224, 192),
    ],
)
def test_encoders(name, channels, size, dim):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    encoder = create_encoder(name, in_channels=channels)
    state = {key: value.clone() for key, value in encoder.state_dict().items()}
    assert feature_dim(encoder, channels, size) == dim
    assert encoder.training
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_a_size_that_the_encoder_does_not_take_is_named_with_the_reason():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 7))
    message = "`image_size` to be .* encoder Sequential takes but with 4 it says: .*Ker"
    with pytest.raises(ValueError, match=message):
        feature_dim(encoder, 3, 4)
    assert encoder.training
    with pytest.raises(ValueError, match=r"Expected `local_size` to be .* with 4x9 it"):
        feature_dim(encoder, 3, (4, 9), "local_size")
