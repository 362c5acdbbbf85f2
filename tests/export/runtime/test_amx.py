"""A session rewrites integer convolutions for AMX, and no result changes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from rkdo_plugin.export import CPUSettings, EmbeddingSession, Encoder
from rkdo_plugin.export.benchmark import photographs
from rkdo_plugin.export.file.metadata import describe
from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.int8.styles import to_integers
from rkdo_plugin.export.onnx import as_file
from rkdo_plugin.export.runtime import providers
from rkdo_plugin.export.runtime.amx import for_amx, has_amx

SIZE = 24


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 32, 3, padding=1),  # 27 products for each result
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),  # 288
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, groups=64),  # 9
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, groups=2, padding=1),  # 288 in two groups
        nn.ReLU(),
        nn.Conv2d(64, 255, 1),  # 64
        nn.ReLU(),
        nn.Conv2d(255, 16, 1),  # 255
        nn.ReLU(),
        nn.Conv2d(16, 8, 4),  # 256
    ]
    return Encoder(
        nn.Sequential(*layers), image_size=SIZE, mean=[0.45] * 3, std=[0.25] * 3
    )


@pytest.fixture(scope="module")
def integers(encoder):
    return to_integers(to_graph(encoder), photographs(32, SIZE))


def lowered(model):
    return onnx.load_model_from_string(for_amx(model.SerializeToString()))


def zero_points(model):
    """Products for each result, and the weights' zero point, of each convolution."""
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    made_by = {node.output[0]: node for node in model.graph.node}
    found = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight, _, zero = made_by[node.input[1]].input
            (value,) = set(tensors[zero].tolist())
            found.append((tensors[weight][0].size, value))
    return found


def test_large_convolutions_of_one_group_get_another_zero_point(integers):
    before = zero_points(integers)
    after = zero_points(lowered(integers))
    assert before == [(27, 0), (288, 0), (9, 0), (288, 0), (64, 0), (255, 0), (256, 0)]
    assert [zero for _, zero in after] == [0, -1, 0, 0, 0, 0, -1]
    assert [size for size, _ in after] == [size for size, _ in before]


@pytest.mark.parametrize(
    "optimize",
    [
        False,
        # Without AMX a processor's sums of products may saturate.
        pytest.param(True, marks=pytest.mark.skipif(not has_amx(), reason="no AMX")),
    ],
)
def test_the_graph_computes_the_same_bits(integers, optimize):
    content = integers.SerializeToString()
    options = onnxruntime.SessionOptions()
    if not optimize:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    images = photographs(5, SIZE)
    before, after = (
        onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        ).run(None, {"image": images})[0]
        for graph in (content, for_amx(content))
    )
    np.testing.assert_array_equal(before, after)


def test_it_is_done_once(integers):
    once = lowered(integers)
    assert lowered(once) == once


def test_float_graphs_are_handed_on(encoder):
    content = to_graph(encoder).SerializeToString()
    assert for_amx(content) is content


def test_weights_that_something_else_reads_stay(integers):
    tied = onnx.ModelProto()
    tied.CopyFrom(integers)
    made_by = {node.output[0]: node for node in tied.graph.node}
    for node in tied.graph.node:
        if node.op_type == "Conv":
            weight = made_by[node.input[1]].input[0]
            tied.graph.node.append(
                onnx.helper.make_node("Identity", [weight], [f"{weight}_read"])
            )
    assert {zero for _, zero in zero_points(lowered(tied))} == {0}


def test_weights_without_room_below_stay(integers):
    full = onnx.ModelProto()
    full.CopyFrom(integers)
    for tensor in full.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int8 and values.ndim == 4:
            values = np.where(values == values.min(), np.int8(-128), values)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert {zero for _, zero in zero_points(lowered(full))} == {0}


def test_convolutions_share_lowered_weights(integers):
    tied = onnx.ModelProto()
    tied.CopyFrom(integers)
    for node in integers.graph.node:
        if node.op_type == "Conv":
            again = tied.graph.node.add()
            again.CopyFrom(node)
            again.output[0] += "_again"
    once = zero_points(lowered(integers))
    assert zero_points(lowered(tied)) == once + once


@pytest.mark.parametrize("value", [-128, 3])
def test_asymmetric_weights_stay(integers, value):
    asymmetric = onnx.ModelProto()
    asymmetric.CopyFrom(integers)
    made_by = {node.output[0]: node for node in asymmetric.graph.node}
    zeros = {
        made_by[node.input[1]].input[2]
        for node in asymmetric.graph.node
        if node.op_type == "Conv"
    }
    for tensor in asymmetric.graph.initializer:
        if tensor.name in zeros:
            full = np.full(tensor.dims, value, np.int8)
            tensor.CopyFrom(numpy_helper.from_array(full, tensor.name))
    assert {zero for _, zero in zero_points(lowered(asymmetric))} == {value}


@pytest.mark.parametrize(
    ("amx", "optimize", "zero"), [(True, True, -1), (True, False, 0), (False, True, 0)]
)
def test_sessions_lower_weights_where_there_is_amx(
    encoder, integers, monkeypatch, amx, optimize, zero
):
    opened = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, content, *args, **kwargs):
            opened.append(onnx.load_model_from_string(content))
            super().__init__(content, *args, **kwargs)

    monkeypatch.setattr(providers, "has_amx", lambda: amx)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    file = as_file("encoder.onnx", integers, describe(encoder, "int8"))
    EmbeddingSession(file, CPUSettings(optimize=optimize))
    (model,) = opened
    assert zero_points(model)[1] == (288, zero)


@pytest.mark.parametrize(("flags", "expected"), [("amx_int8", True), ("avx2", False)])
def test_amx_is_what_linux_says(monkeypatch, flags, expected):
    monkeypatch.setattr(onnxruntime, "__version__", "1.25.0")
    monkeypatch.setattr(Path, "read_text", lambda _: f"flags\t: fpu {flags}\n")
    assert has_amx() is expected


@pytest.mark.parametrize("version", ["1.23.2", "1.24.4"])
def test_amx_is_left_to_versions_that_compute_right(monkeypatch, version):
    monkeypatch.setattr(onnxruntime, "__version__", version)
    monkeypatch.setattr(Path, "read_text", lambda _: "flags\t: amx_int8\n")
    assert has_amx() is False


def test_there_is_no_amx_where_linux_is_not(monkeypatch):
    def missing(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    assert has_amx() is False
