"""Files made for CPUs with VNNI are refused where sums are cut."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from photographs import crops

from rkdo_plugin.export import CPUSettings, EmbeddingSession
from rkdo_plugin.export.file.metadata import PRECISION, describe
from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.int8.build import prepared
from rkdo_plugin.export.int8.ranges import MIN_MAX, extremes
from rkdo_plugin.export.int8.styles import plain, style_of, to_dynamic_int8, to_integers
from rkdo_plugin.export.onnx import as_file
from rkdo_plugin.export.runtime import saturation
from rkdo_plugin.export.verification.judge import Judge

WITH_VNNI = "flags\t\t: fpu avx2 avx512f avx512_vnni\n"
WITHOUT = "flags\t\t: fpu avx2\n"


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """Let this machine's CPU have other flags."""
    monkeypatch.setattr(saturation, "CPU", tmp_path / "cpuinfo")
    return (tmp_path / "cpuinfo").write_text


@pytest.mark.parametrize(
    ("flags", "saturate"),
    [
        ("flags\t\t: fpu sse4_2 avx2 bmi2\n" * 2, True),
        (WITH_VNNI * 2, False),
        ("flags\t\t: fpu avx2 avx_vnni\n", False),
        ("Features\t: fp asimd asimddp\n", False),
        (None, False),
    ],
)
def test_sums_saturate_on_x86_without_vnni(cpu, flags, saturate):
    if flags is not None:
        cpu(flags)
    assert saturation.sums_saturate() == saturate


def test_eight_bits_are_refused_where_sums_are_cut(cpu, make_small):
    encoder, images = make_small(), crops(16, 16)
    graph, metadata = to_graph(encoder), describe(encoder, "int8")
    cpu(WITH_VNNI)
    eight = as_file("eight.onnx", to_integers(graph, images), dict(metadata))
    expected = EmbeddingSession(eight, CPUSettings(optimize=False)).embed(images)
    EmbeddingSession(eight, "cpu")
    cpu(WITHOUT)
    seven = as_file("seven.onnx", to_integers(graph, images), dict(metadata))
    EmbeddingSession(seven, "cpu")
    with pytest.raises(ValueError, match=r"of 7 bits, .* no VNNI .* got 8 bits"):
        EmbeddingSession(eight, "cpu")
    report = Judge(encoder, images).report(eight)
    assert not report.passed and "no VNNI" in report.failures[0]
    exact = EmbeddingSession(eight, CPUSettings(optimize=False)).embed(images)
    np.testing.assert_array_equal(exact, expected)


def test_float_files_run_anywhere(cpu, make_small):
    cpu(WITHOUT)
    file = as_file("a.onnx", to_graph(make_small()), describe(make_small(), "fp32"))
    EmbeddingSession(file, "cpu")


def test_tensorrt_files_are_judged_by_what_the_graph_says(cpu, make_small):
    encoder, images = make_small(), crops(64, 16)
    graph, style = prepared(to_graph(encoder)), style_of("int8-tensorrt")
    ranges = extremes(graph, style.operators, images)[MIN_MAX]
    metadata = describe(encoder, "int8-tensorrt")
    file = as_file("a.onnx", plain(graph, ranges, style), metadata)
    assert file.metadata[PRECISION] == "int8-tensorrt"
    reports = []
    for flags in (WITH_VNNI, WITHOUT):
        cpu(flags)
        reports.append(Judge(encoder, images).report(file))
    assert all(report.passed for report in reports)
    assert abs(reports[0].max_one_minus_cosine - reports[1].max_one_minus_cosine) < 1e-5
    with pytest.raises(ValueError, match="no VNNI"):
        EmbeddingSession(file, "cpu")


@pytest.mark.parametrize("vnni", [True, False])
def test_dynamic_files_tell_by_their_weights(cpu, vnni):
    cpu(WITH_VNNI if vnni else WITHOUT)
    weights = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "one product",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 32])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    assert saturation.has_eight_bits(to_dynamic_int8(model)) == vnni
