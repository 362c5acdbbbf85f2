import pytest
import torch

from rkdo_plugin import create_encoder, create_recipe


@pytest.mark.parametrize(
    ("name", "size", "dim"),
    [
        ("resnet18-small", 32, 512),
        ("resnet50-small", 28, 2048),
        ("torchvision:mobilenet_v3_small", 64, 1024),
        ("torchvision:convnext_tiny", 64, 768),
        ("torchvision:swin_t", 64, 768),
    ],
)
def test_encoders_by_name(name, size, dim):
    encoder = create_encoder(name).eval()
    assert encoder(torch.zeros(1, 3, size, size)).flatten(1).shape == (1, dim)


def test_torchvisions_networks_read_three_channels():
    with pytest.raises(ValueError, match=r"3 channels .* but got 1"):
        create_recipe("simclr", encoder="torchvision:swin_t", in_channels=1)
