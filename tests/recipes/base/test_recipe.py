import pytest
import torch
from lightly.loss import NTXentLoss
from published_weights import lively
from recipe_steps import LABELS, VIEWS, Scaled, fit
from runs import assert_equal, train, weights
from torch import nn

from rkdo_plugin.plugins.create import create_encoder, create_recipe
from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.base.settings import RecipeSettings
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
    with pytest.raises(ValueError, match="no loss named 'nt-xent'"):
        create_recipe("simclr", loss="nt-xent")
    with pytest.raises(ValueError, match="no encoder named 'resnet'"):
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


@pytest.mark.parametrize("name", sorted(host().contributions("recipe")))
def test_every_recipe_and_its_copies_start_from_a_file(name, tmp_path):
    start = lively(create_encoder("small-convnet"))
    torch.save(start.state_dict(), tmp_path / "start.pth")
    options = {"encoder": "small-convnet", "weights": str(tmp_path / "start.pth")}
    recipe = create_recipe(name, **options)
    started = [part for part in recipe.modules() if isinstance(part, type(start))]
    copies = {"byol", "moco", "dino", "mean-teacher"}
    assert len(started) == (2 if name in copies else 1)
    for part in started:
        assert_equal(dict(part.state_dict()), dict(start.state_dict()))


def test_a_start_from_a_file_changes_no_other_draw(tmp_path):
    torch.save(create_encoder("small-convnet").state_dict(), tmp_path / "start.pth")
    heads = []
    for weights_file in (None, tmp_path / "start.pth"):
        torch.manual_seed(3)
        recipe = SimCLR(RecipeSettings(weights=weights_file))
        heads.append(dict(recipe.projection_head.state_dict()))
    assert_equal(*heads)


def test_a_checkpoint_holds_its_weights_and_not_where_they_came_from(tmp_path):
    torch.save(create_encoder("small-convnet").state_dict(), tmp_path / "start.pth")
    recipe = SimCLR(RecipeSettings(weights=tmp_path / "start.pth"))
    fit(recipe, [[VIEWS, LABELS]])
    recipe.trainer.save_checkpoint(tmp_path / "one.ckpt")
    (tmp_path / "start.pth").unlink()
    again = SimCLR.load_from_checkpoint(tmp_path / "one.ckpt")
    assert_equal(dict(again.state_dict()), dict(recipe.state_dict()))
    assert again.settings.weights is None
