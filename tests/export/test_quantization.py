"""Integer files made from float32 files."""

import numpy as np
import pytest
from photographs import crops

from rkdo_plugin.export import EmbeddingSession, export_onnx, quantize
from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.int8.styles import to_integers


def test_int8_of_a_resnet_is_a_quarter_of_its_parameters(make_resnet18):
    integers = to_integers(to_graph(make_resnet18()), crops(16, 32))
    assert len(integers.SerializeToString()) <= 0.27 * 4 * 11_176_512


def test_a_file_is_quantised_without_its_checkpoint(small_file, make_small, tmp_path):
    real = crops(128, 16)
    report = quantize(small_file, tmp_path / "int8.onnx", real)
    assert report.passed and report.compared_with == "small.onnx on cpu"
    export_onnx(make_small(), tmp_path / "b.onnx", precision="int8", calibration=real)
    images = crops(16, 16, seed=3)
    np.testing.assert_array_equal(
        EmbeddingSession(tmp_path / "int8.onnx").embed(images),
        EmbeddingSession(tmp_path / "b.onnx").embed(images),
    )
    with pytest.raises(ValueError, match="to have precision 'fp32' but it has"):
        quantize(tmp_path / "int8.onnx", tmp_path / "c.onnx", real)


def test_quantising_makes_integers_only(small_file, tmp_path):
    with pytest.raises(
        ValueError, match="one of int8, int8-dynamic, int8-tensorrt but got 'fp16'"
    ):
        quantize(small_file, tmp_path / "a.onnx", precision="fp16")
    assert list(tmp_path.iterdir()) == []
