"""From checkpoints, of every recipe too, to their encoders."""

import pytest
import torch
from checkpoints import PREPROCESSING, conv, saved
from torch import nn

from rkdo_plugin import create_encoder, create_recipe
from rkdo_plugin.export import export_onnx, freeze
from rkdo_plugin.plugins.host import host


def test_our_checkpoints_record_everything(tmp_path):
    backbone = create_encoder("small-convnet", in_channels=1)
    record = {
        "encoder": "small-convnet",
        "in_channels": 1,
        "image_size": 28,
        "mean": [0.3],
        "std": [0.2],
        "data": "digits",
        "recipe": "simclr",
    }
    path = saved(tmp_path / "own.ckpt", {"backbone": backbone}, rkdo=record)
    encoder = freeze(path)
    assert (encoder.image_size, encoder.channels, encoder.dim) == (28, 1, 96)
    torch.testing.assert_close(encoder.mean, torch.tensor([0.3]))
    torch.testing.assert_close(
        encoder.backbone.state_dict(), backbone.state_dict(), rtol=0, atol=0
    )
    assert freeze(path, image_size=32).image_size == 32


@pytest.fixture
def own(tmp_path):
    record = {
        "encoder": "small-convnet",
        "in_channels": 3,
        "image_size": 16,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    backbone = create_encoder("small-convnet")
    return saved(tmp_path / "own.ckpt", {"backbone": backbone}, rkdo=record)


@pytest.mark.parametrize("name", ["mean", "std"])
@pytest.mark.parametrize("numbers", [[0.5, 0.5, 0.5], [0.485, 0.456, 0.407], [0.485]])
def test_other_preprocessing_than_trainings_is_refused(own, name, numbers):
    with pytest.raises(
        ValueError, match=rf"`{name}` to be \[.*own.ckpt.*\[0\."
    ) as caught:
        freeze(own, **{name: numbers})
    assert str(numbers) in str(caught.value)


def test_the_same_preprocessing_may_be_said_again(own):
    encoder = freeze(own, mean=[0.48500001, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    torch.testing.assert_close(encoder.mean, torch.tensor([0.485, 0.456, 0.406]))


def test_what_a_foreign_checkpoint_does_not_record_is_asked_for(tmp_path):
    path = saved(tmp_path / "foreign.ckpt", {"backbone": conv(1.0)})
    with pytest.raises(
        ValueError, match=r"`backbone`, `mean`, `std` but got none; .* `std` \[0"
    ):
        freeze(path, image_size=16)


def test_the_backbone_passed_in_is_left_as_it_was(tmp_path):
    path = saved(tmp_path / "any.ckpt", {"backbone": conv(1.0)})
    backbone = conv(0.0).train()
    freeze(path, backbone, **PREPROCESSING)
    assert backbone.training and backbone.weight.eq(0).all()


def test_a_partial_state_dict_is_refused_naming_the_keys(tmp_path):
    state = create_encoder("small-convnet").state_dict()
    del state["layers.2.1.bias"]
    state["layers.9.weight"] = torch.zeros(1)
    state["layers.0.0.weight"] = torch.zeros(16, 1, 3, 3)
    torch.save(state, tmp_path / "partial.pt")
    with pytest.raises(ValueError, match="weights of a SmallConvNet in") as caught:
        freeze(tmp_path / "partial.pt", "small-convnet", **PREPROCESSING)
    message = str(caught.value)
    assert "1 missing: layers.2.1.bias" in message
    assert "1 unexpected: layers.9.weight" in message
    assert "layers.0.0.weight (16, 1, 3, 3) for (16, 3, 3, 3)" in message


def test_another_architecture_is_refused(tmp_path):
    path = saved(tmp_path / "r18.ckpt", {"backbone": create_encoder("resnet18")})
    with pytest.raises(ValueError, match=r"r18\.ckpt.*missing: layers.*unexpected"):
        freeze(path, "small-convnet", **PREPROCESSING)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = saved(tmp_path / "nan.ckpt", {"backbone": conv(float("nan"))})
    with pytest.raises(ValueError, match="NaN or infinity"):
        freeze(path, conv(0.0), **PREPROCESSING)


def test_an_encoder_for_images_of_any_size(tmp_path):
    torch.save(create_encoder("small-convnet").state_dict(), tmp_path / "plain.pt")
    encoder = freeze(
        tmp_path / "plain.pt", "small-convnet", any_size=True, **PREPROCESSING
    )
    assert encoder(torch.zeros(1, 40, 56, 3, dtype=torch.uint8)).shape == (1, 96)


RECORD = {
    "in_channels": 3,
    "image_size": 16,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.25, 0.25, 0.25],
}


RECIPES = sorted(host().contributions("recipe"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_gives_its_encoder_and_no_copy_of_it(name, tmp_path):
    recipe = create_recipe(name, encoder="small-convnet", image_size=16)
    # Give every network weights of its own, because copies start as equals.
    for module in recipe.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(False)):
            if tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.5, 1.5)
    path = tmp_path / "any.ckpt"
    record = {**RECORD, "encoder": recipe.encoder_name}
    torch.save({"state_dict": recipe.state_dict(), "rkdo": record}, path)
    encoder = freeze(path)
    found = encoder.backbone.state_dict()
    assert found.keys() == recipe.backbone.state_dict().keys()
    for key, value in recipe.backbone.state_dict().items():
        assert torch.equal(found[key], value)
    copies = [
        child
        for child in recipe.children()
        if child is not recipe.backbone and child.state_dict().keys() == found.keys()
    ]
    momentum = {"byol", "moco", "dino", "mean-teacher"}
    assert len(copies) == (name in momentum)
    for copy in copies:
        assert not torch.equal(next(copy.parameters()), next(encoder.parameters()))
    assert encoder.dim == recipe.backbone(torch.zeros(2, 3, 16, 16)).shape[1]
    assert export_onnx(encoder, tmp_path / "any.onnx").passed
