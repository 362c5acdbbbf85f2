"""Of every recipe the encoder comes out, and nothing that looks like it."""

import pytest
import torch
from torch import nn

from rkdo_plugin import create_recipe
from rkdo_plugin.export import export_onnx, freeze
from rkdo_plugin.plugins.create import host

RECORD = {
    "in_channels": 3,
    "image_size": 16,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.25, 0.25, 0.25],
}
RECIPES = sorted(host().contributions("recipe"))


@pytest.mark.parametrize("name", RECIPES)
def test_the_encoder_and_no_copy_of_it(name, tmp_path):
    recipe = create_recipe(name, encoder="small-convnet", image_size=16)
    # As if every network had gone its own way: copies start as equals.
    for module in recipe.modules():
        for tensor in (*module.parameters(recurse=False), *module.buffers(False)):
            if tensor.is_floating_point():
                nn.init.uniform_(tensor, 0.5, 1.5)
    path = tmp_path / "any.ckpt"
    exported = getattr(recipe, "exported_encoder", "small-convnet")
    record = {**RECORD, "encoder": exported}
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
    momentum = {"byol", "moco", "dino", "mean_teacher"}
    assert len(copies) == (name in momentum)
    for copy in copies:
        assert not torch.equal(next(copy.parameters()), next(encoder.parameters()))
    assert encoder.dim == recipe.backbone(torch.zeros(2, 3, 16, 16)).shape[1]
    assert export_onnx(encoder, tmp_path / "any.onnx").passed
