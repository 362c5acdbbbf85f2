"""The graph of an encoder, for one image size or for any, by either exporter."""

import numpy as np
import onnx
import pytest
import torch
import torchvision
from graphs import ON_THE_CPU, kinds, newest_exporter, run
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
)
from rkdo_plugin.export.graph import build

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


@newest_exporter
def test_a_size_that_the_graph_took_for_a_constant_fails_the_gate(tmp_path):
    # In PyTorch it accepts any size, and pads it to whole windows.
    swin = torchvision.models.SwinTransformer([4, 4], 8, [2], [2], [4, 4])
    swin.head = nn.Identity()
    with pytest.raises(ParityError, match=r"swin\.onnx to run but got"):
        export_onnx(any_size(swin), tmp_path / "swin.onnx")
    assert not any(tmp_path.iterdir())


def test_the_graph_is_portable(small_file):
    model = onnx.load(small_file)
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import] == [18]
    assert model.ir_version <= 10
    (image,), (embedding,) = model.graph.input, model.graph.output
    assert (image.name, embedding.name) == ("image", "embedding")
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    shapes = [value.type.tensor_type.shape.dim for value in (image, embedding)]
    assert [dim.dim_param or dim.dim_value for dim in shapes[0]] == ["batch", 16, 16, 3]
    assert [dim.dim_param or dim.dim_value for dim in shapes[1]] == ["batch", 96]
    # BatchNormalization is folded; a Shape node would run on the CPU under CUDA.
    assert {"Shape", "BatchNormalization"}.isdisjoint(
        n.op_type for n in model.graph.node
    )


def test_the_older_exporter_steps_in_behind_the_same_gate(
    make_small, tmp_path, monkeypatch, oracle, images
):
    def fail(*_):
        raise torch.onnx.OnnxExporterError("not expressible")

    monkeypatch.setattr(build, "_by_dynamo", fail)
    for name in ("once.onnx", "again.onnx"):
        assert export_onnx(make_small(), tmp_path / name).passed
    once, again = (tmp_path / name for name in ("once.onnx", "again.onnx"))
    assert once.read_bytes() == again.read_bytes()
    got = EmbeddingSession(once).embed(images)
    np.testing.assert_allclose(got, oracle(make_small(), images), atol=1e-6)


def test_code_that_branches_by_pixels_is_refused(tmp_path):
    """A tracer follows one branch, which all compared pictures may take."""

    class OfBrightness(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3)

        def forward(self, pixels):
            if pixels.mean() > 1.5:
                pixels = -pixels
            return self.conv(pixels).relu().mean((2, 3))

    encoder = Encoder(OfBrightness(), image_size=32, mean=[0.5] * 3, std=[0.25] * 3)
    with pytest.raises(RuntimeError, match=r"same steps for all .* data-dependent"):
        export_onnx(encoder, tmp_path / "encoder.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["script", "trace"])
def test_a_torchscript_module_is_exported_behind_the_same_gate(
    form, make_small, tmp_path, images
):
    plain = make_small()
    example = torch.zeros(1, 3, 16, 16)
    if form == "script":
        module = torch.jit.script(plain.backbone)
    else:
        module = torch.jit.trace(plain.backbone, example)
    mean, std = plain.mean.tolist(), plain.std.tolist()
    encoder = Encoder(module, image_size=16, mean=mean, std=std)
    np.testing.assert_array_equal(encoder.embed(images), plain.embed(images))
    path = tmp_path / "encoder.onnx"
    assert export_onnx(encoder, path).passed
    got = EmbeddingSession(path).embed(images)
    np.testing.assert_allclose(got, plain.embed(images), atol=1e-6)
    with pytest.raises(ValueError, match=r"float16, but got TorchScript; use .*fp32"):
        export_onnx(encoder, tmp_path / "half.onnx", precision="fp16")


def test_a_script_that_branches_by_pixels_keeps_both_branches(tmp_path, images):
    class OfBrightness(nn.Module):
        def forward(self, pixels):
            if bool(pixels.mean() > 0):
                pixels = 2 * pixels + 1
            return pixels.mean((2, 3))

    encoder = Encoder(
        torch.jit.script(OfBrightness()),
        image_size=16,
        mean=[0.5] * 3,
        std=[0.25] * 3,
        normalize=False,
    )
    path = tmp_path / "encoder.onnx"
    assert export_onnx(encoder, path).passed
    session = EmbeddingSession(path)
    for light in (0, 255):
        plain = np.full((1, 16, 16, 3), light, np.uint8)
        np.testing.assert_allclose(
            session.embed(plain), encoder.embed(plain), atol=1e-5
        )


def test_a_script_whose_norm_reads_the_batch_is_refused():
    norm = nn.BatchNorm2d(3, track_running_stats=False)
    with pytest.raises(ValueError, match="batch norms with statistics from training"):
        Encoder(torch.jit.script(norm), image_size=8, mean=[0.5] * 3, std=[0.5] * 3)


def test_pooling_of_channels_last_maps_is_a_mean():
    class ChannelsLast(nn.Module):
        """Pools channels-last maps, as ConvNeXt and Swin do."""

        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(3)
            nn.init.constant_(self.norm.bias, 2)  # means that are far from zero
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, images):
            maps = self.norm(images.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.pool(maps).flatten(1)

    encoder = Encoder(ChannelsLast(), image_size=8, mean=[0.5] * 3, std=[0.5] * 3)
    model = build.to_graph(encoder)
    assert (ON_THE_CPU | {"Gather"}).isdisjoint(kinds(model))
    assert not encoder.backbone.pool._forward_pre_hooks
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    expected = encoder(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(run(model, images), expected, atol=1e-6)
