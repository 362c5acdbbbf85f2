"""Encoders of images of any height and width."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    CUDASettings,
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    freeze,
    verify,
)

PREPROCESSING = {"image_size": 32, "mean": [0.48, 0.45, 0.41], "std": [0.23] * 3}


def any_size(backbone):
    return Encoder(backbone, any_size=True, **PREPROCESSING)


def convnext():
    return torchvision.models.convnext._convnext(
        [
            torchvision.models.convnext.CNBlockConfig(8, 16, 1),
            torchvision.models.convnext.CNBlockConfig(16, None, 1),
        ],
        stochastic_depth_prob=0.0,
        weights=None,
        progress=False,
        num_classes=10,
    )


@pytest.fixture(scope="module", params=["small-convnet", "resnet18", "convnext"])
def exported(request, tmp_path_factory):
    name = request.param
    torch.manual_seed(0)
    encoder = any_size(convnext() if name == "convnext" else create_encoder(name))
    path = tmp_path_factory.mktemp(name) / "any.onnx"
    assert export_onnx(encoder, path).passed
    return encoder, EmbeddingSession(path)


@pytest.mark.parametrize("sides", [(32, 32), (64, 48), (37, 101), (128, 33)])
def test_embeddings_of_any_height_and_width(exported, sides):
    encoder, session = exported
    images = np.random.default_rng(0).integers(0, 256, (3, *sides, 3), np.uint8)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.embed(images), expected, atol=1e-6)


def test_other_sizes_are_compared_where_both_make_the_same_of_them(tmp_path):
    backbone = create_encoder("small-convnet")
    files = {name: tmp_path / f"{name}.onnx" for name in ("one", "any", "resizing")}
    export_onnx(Encoder(backbone, **PREPROCESSING), files["one"])
    export_onnx(any_size(backbone), files["any"])
    export_onnx(Encoder(backbone, **PREPROCESSING), files["resizing"], resize=True)
    for file in files.values():
        for reference in files.values():
            assert verify(file, EmbeddingSession(reference, "cpu")).passed


def test_what_is_still_refused(exported):
    for embed, array in ((exported[1].embed, np.zeros), (exported[0], torch.zeros)):
        dtype = np.uint8 if array is np.zeros else torch.uint8
        with pytest.raises(
            ValueError, match=r"\(B, H, W, 3\) but got \(1, 32, 32, 1\)"
        ):
            embed(array((1, 32, 32, 1), dtype=dtype))
        with pytest.raises(ValueError, match=r"but got \(1, 0, 32, 3\)"):
            embed(array((1, 0, 32, 3), dtype=dtype))


def test_a_network_of_one_size_is_refused():
    vit = torchvision.models.VisionTransformer(32, 16, 1, 2, 24, 48)
    with pytest.raises(ValueError, match=r"on 32 x 65 pixels it gives: Wrong image"):
        any_size(vit)


def test_a_size_that_the_graph_took_for_a_constant_fails_the_gate(tmp_path):
    # It takes any size in PyTorch, and pads it to whole windows.
    swin = torchvision.models.SwinTransformer([4, 4], 8, [2], [2], [4, 4])
    swin.head = nn.Identity()
    with pytest.raises(ParityError, match="the file does not run"):
        export_onnx(any_size(swin), tmp_path / "swin.onnx")
    assert not any(tmp_path.iterdir())


def test_freeze_passes_it_on(tmp_path):
    torch.save(create_encoder("small-convnet").state_dict(), tmp_path / "plain.pt")
    encoder = freeze(
        tmp_path / "plain.pt", "small-convnet", any_size=True, **PREPROCESSING
    )
    assert encoder(torch.zeros(1, 40, 56, 3, dtype=torch.uint8)).shape == (1, 96)


def test_what_is_made_for_one_size_is_refused_before_it_is_made_for_each(tmp_path):
    export_onnx(any_size(create_encoder("small-convnet")), tmp_path / "any.onnx")
    graphs = CUDASettings(cuda_graphs=(1,))
    for provider, settings in (("tensorrt", None), ("cuda", graphs)):
        with pytest.raises(ValueError, match=r"one size .* but any.onnx takes any"):
            EmbeddingSession(tmp_path / "any.onnx", provider, settings)


def test_features_that_grow_with_the_image_are_refused():
    with pytest.raises(ValueError, match="components, and 3072 on a square"):
        any_size(nn.Flatten())
