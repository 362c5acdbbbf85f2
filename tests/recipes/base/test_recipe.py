import pytest
import torch
from lightly.loss import NTXentLoss
from recipe_steps import LABELS, VIEWS, Scaled, fit
from runs import train, weights
from torch import nn

from rkdo_plugin.plugins.create import create_recipe
from rkdo_plugin.recipes.simclr import SimCLR


@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_every_trainable_parameter_learns_the_criterions_too(name):
    recipe = create_recipe(name, loss=Scaled())
    before = {key: value.clone() for key, value in recipe.named_parameters()}
    fit(recipe, [[VIEWS, LABELS], [VIEWS, LABELS, ["a.png"] * 8]])
    for key, value in recipe.named_parameters():
        frozen = "momentum" in key
        assert value.requires_grad is not frozen
        if not frozen and "bias" not in key:
            assert not torch.equal(value, before[key]), key


def test_loss_by_name_with_options():
    recipe = create_recipe("simclr", loss="ntxent", loss_options={"temperature": 0.07})
    assert isinstance(recipe.criterion, NTXentLoss)
    assert recipe.criterion.temperature == 0.07


def test_unknown_names():
    with pytest.raises(ValueError, match="a registered loss but got 'nt-xent'"):
        create_recipe("simclr", loss="nt-xent")
    with pytest.raises(ValueError, match="a registered encoder but got 'resnet'"):
        create_recipe("byol", encoder="resnet")


def test_an_unflattened_backbone_as_in_lightlys_examples():
    backbone = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1))
    assert create_recipe("simclr", encoder=backbone)(VIEWS[0]).shape == (8, 128)


def test_a_two_tensor_recipe_refuses_a_loss_of_lists(tmp_path, settings):
    with pytest.raises(TypeError, match=r"two tensors with SimCLR but got DINOLoss"):
        train("simclr", "dino", out=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run").exists()


def test_a_recipe_loads_from_its_checkpoint(uninterrupted):
    folder = uninterrupted["simclr"]
    recipe = SimCLR.load_from_checkpoint(folder / "last.ckpt")
    name = "backbone.layers.0.0.weight"
    assert torch.equal(recipe.state_dict()[name], weights(folder)[name])
