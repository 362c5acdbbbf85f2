"""Known shapes become constants, so that a graph can run wholly on a GPU."""

import numpy as np
import onnx
import pytest
import torch
from graphs import ON_THE_CPU, kinds, newest_exporter, run
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder
from rkdo_plugin.export.graph import build
from rkdo_plugin.export.graph.shapes import write_known_shapes


@pytest.mark.parametrize(
    "name", ["small-convnet", "resnet18", "torchvision:mobilenet_v3_small"]
)
def test_graphs_of_convnets_run_wholly_on_a_gpu(name):
    backbone = create_encoder(name).eval()
    encoder = Encoder(backbone, image_size=32, mean=[0.5] * 3, std=[0.5] * 3)
    assert ON_THE_CPU.isdisjoint(kinds(build.to_graph(encoder)))


@pytest.fixture(scope="module")
def transformer():
    """A token for the class, two registers and four patches through one block."""

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 8, stride=8)
            self.token = nn.Parameter(torch.randn(1, 1, 8))
            self.registers = nn.Parameter(torch.randn(1, 2, 8))
            self.qkv = nn.Linear(8, 24)

        def forward(self, images):
            x = self.patches(images).flatten(2).transpose(1, 2)
            first = [t.expand(x.shape[0], -1, -1) for t in (self.token, self.registers)]
            x = torch.cat([*first, x], dim=1)
            q, k, v = self.qkv(x).reshape(-1, 7, 3, 2, 4).permute(2, 0, 3, 1, 4)
            x = nn.functional.scaled_dot_product_attention(q, k, v)
            return x.transpose(1, 2).flatten(2)[:, 0]

    torch.manual_seed(0)
    encoder = Encoder(Transformer(), image_size=16, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "write_known_shapes", lambda _: None)
        return build.to_graph(encoder)


def test_a_transformers_shapes_become_constants(transformer):
    model = onnx.ModelProto.FromString(transformer.SerializeToString())
    assert kinds(model)["Shape"] > 1
    write_known_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    assert (ON_THE_CPU | {"Expand"}).isdisjoint(kinds(model))
    rng = np.random.default_rng(0)
    for batch in (1, 2, 7):
        images = rng.integers(0, 256, (batch, 16, 16, 3), dtype=np.uint8)
        expected = run(transformer, images)
        np.testing.assert_allclose(run(model, images), expected, atol=1e-6)


def test_no_weight_is_lost_or_left_over(transformer):
    model = onnx.ModelProto.FromString(transformer.SerializeToString())
    write_known_shapes(model)
    used = {name for node in model.graph.node for name in node.input}
    names = [tensor.name for tensor in model.graph.initializer]
    assert set(names) <= used and len(names) == len(set(names))


def test_a_graph_without_computed_shapes_stays_as_it_is(make_small):
    model = build.to_graph(make_small())
    before = list(model.graph.node), list(model.graph.initializer)
    write_known_shapes(model)
    assert (list(model.graph.node), list(model.graph.initializer)) == before


def test_arithmetic_expands_by_itself():
    class Cosine(nn.Module):
        """Divides by a norm of its own, expanded to every component."""

        def __init__(self):
            super().__init__()
            self.maps = nn.Conv2d(3, 8, 8, stride=8)

        def forward(self, images):
            return nn.functional.normalize(self.maps(images), dim=1).flatten(1)

    torch.manual_seed(0)
    encoder = Encoder(Cosine(), image_size=16, mean=[0.5] * 3, std=[0.5] * 3)
    model = build.to_graph(encoder)
    onnx.checker.check_model(model, full_check=True)
    assert (ON_THE_CPU | {"Expand"}).isdisjoint(kinds(model))
    for batch in (1, 2, 7):
        images = np.random.default_rng(0).integers(0, 256, (batch, 16, 16, 3), np.uint8)
        expected = encoder(torch.from_numpy(images)).detach().numpy()
        np.testing.assert_allclose(run(model, images), expected, atol=1e-6)


def expanding(*readers, outputs=()):
    """A column, expanded to three, and what reads it, as "KIND INPUT INPUT"."""
    helper, proto = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Shape", ["large"], ["shape"]),
        helper.make_node("Expand", ["small", "shape"], ["wide"]),
    ]
    for number, reader in enumerate(readers):
        kind, *inputs = reader.split()
        nodes.append(helper.make_node(kind, inputs, [f"out{number}"]))
    names = [f"out{number}" for number in range(len(readers))]
    made = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, proto.FLOAT, ["b", 3, width])
            for name, width in {"large": 3, "small": 1}.items()
        ],
        [
            helper.make_tensor_value_info(name, proto.FLOAT, None)
            for name in (*names, *outputs)
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(made, opset_imports=opset, ir_version=10)


def test_every_arithmetic_reader_expands_by_itself():
    model = expanding("Mul large wide", "Sub wide large")
    write_known_shapes(model)
    assert kinds(model) == {"Mul": 1, "Sub": 1}
    assert [list(node.input) for node in model.graph.node] == [
        ["large", "small"],
        ["small", "large"],
    ]


@pytest.mark.parametrize(
    "readers",
    [
        ["MatMul large wide"],
        ["Mul wide wide"],  # nothing else is as large
        ["Mul small wide"],
        ["Mul large wide", "Relu wide"],
    ],
)
def test_what_nothing_else_would_expand_stays_expanded(readers):
    model = expanding(*readers)
    before = list(model.graph.node)
    write_known_shapes(model)
    assert list(model.graph.node) == before


def test_what_the_graph_returns_stays_expanded():
    model = expanding("Mul large wide", outputs=["wide"])
    write_known_shapes(model)
    assert kinds(model) == {"Shape": 1, "Expand": 1, "Mul": 1}


@newest_exporter
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    "repeat",
    [
        lambda tokens, count: tokens.expand(count, -1, -1),
        lambda tokens, count: tokens.repeat(count, 1, 1),
    ],
)
@pytest.mark.parametrize("from_weights", [True, False])
def test_what_is_the_same_for_all_images(times, repeat, from_weights):
    """Once an image it needs no Shape node; twice an image is not once."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 8, 8)
            self.tokens = nn.Parameter(torch.randn(1, 2, 8))
            self.of_tokens = nn.Linear(8, 8)

        def forward(self, images):
            tokens = self.tokens if from_weights else self.of_tokens(self.tokens)
            shared = repeat(tokens, times * images.shape[0])
            own = shared.reshape(images.shape[0], -1, 8)
            found = self.patches(images).flatten(2).transpose(1, 2)
            return torch.cat([own, found], dim=1).square().mean(dim=1)

    torch.manual_seed(0)
    encoder = Encoder(Tokens(), image_size=16, mean=[0.5] * 3, std=[0.5] * 3)
    model = build.to_graph(encoder)
    onnx.checker.check_model(model, full_check=True)
    assert ON_THE_CPU.isdisjoint(kinds(model)) == (times == 1)
    for batch in (1, 3):
        images = np.random.default_rng(0).integers(0, 256, (batch, 16, 16, 3), np.uint8)
        expected = encoder(torch.from_numpy(images)).detach().numpy()
        np.testing.assert_allclose(run(model, images), expected, atol=1e-6)


def test_a_shape_that_two_open_sizes_decide_is_left_computed():
    helper, proto = onnx.helper, onnx.TensorProto
    image = helper.make_tensor_value_info("image", proto.FLOAT, ["b", "h", 2])
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Reshape", ["image", "shape"], ["same"]),
    ]
    same = helper.make_tensor_value_info("same", proto.FLOAT, ["b", "h", 2])
    made = helper.make_graph(nodes, "graph", [image], [same])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(made, opset_imports=opset, ir_version=10)
    write_known_shapes(model)
    assert kinds(model) == {"Shape": 1, "Reshape": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"],
)
def test_timms_transformers_can_run_wholly_on_a_gpu(name):
    timm = pytest.importorskip("timm")
    backbone = timm.create_model(name, num_classes=0, img_size=224)
    encoder = Encoder(backbone, image_size=224, mean=[0.5] * 3, std=[0.5] * 3)
    model = build.to_graph(encoder)
    assert ON_THE_CPU.isdisjoint(kinds(model))
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(run(model, images), expected, atol=1e-5)
