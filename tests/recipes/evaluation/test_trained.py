import pytest
import torch
from runs import weights

from rkdo_plugin.plugins.create import create_encoder, create_recipe
from rkdo_plugin.recipes.evaluation.trained import load_trained


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


@pytest.mark.parametrize("lost", ["settings", "mean", "std"])
def test_a_recipe_without_its_settings_is_refused(uninterrupted, tmp_path, lost):
    checkpoint = torch.load(uninterrupted["simclr"] / "last.ckpt")
    del checkpoint["rkdo"][lost]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(
        ValueError, match=f"record its recipe whole but it lacks {lost}"
    ):
        load_trained(tmp_path)
