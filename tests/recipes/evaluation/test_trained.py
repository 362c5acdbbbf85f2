import pytest
import torch
from runs import weights

from rkdo_plugin.plugins.create import create_encoder, create_recipe


def test_a_trained_runs_encoder_gives_the_features(uninterrupted):
    folder = uninterrupted["simclr"]
    name = f"run:{folder}"
    encoder = create_encoder(name, in_channels=1)
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, weights(folder)[f"backbone.{key}"])
    recipe = create_recipe("cluster", encoder=name, in_channels=1, image_size=28)
    assert recipe(torch.rand(2, 1, 28, 28)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"3 channels but that of .* reads 1"):
        create_encoder(name, in_channels=3)
