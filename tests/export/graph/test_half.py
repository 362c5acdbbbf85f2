"""Files in half precision against the encoder in float64."""

import numpy as np
import onnx
import pytest
from photographs import crops
from torch import nn

from rkdo_plugin.export import EmbeddingSession, Encoder, export_onnx


def test_float16_halves_the_file_and_keeps_the_embedding(
    make_resnet18, oracle, tmp_path
):
    path = tmp_path / "half.onnx"
    report = export_onnx(make_resnet18(), path, precision="fp16")
    assert report.passed and report.size_ratio <= 0.52
    assert 0 < report.max_one_minus_cosine <= 1e-5
    images = crops(8, 32)
    got = EmbeddingSession(path).embed(images)
    expected = oracle(make_resnet18(), images)
    assert got.dtype == np.float32
    assert 1 - (got * expected).sum(axis=1).min() <= 1e-5
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    model = onnx.load(path)
    kinds = {tensor.data_type for tensor in model.graph.initializer if tensor.dims}
    assert onnx.TensorProto.FLOAT16 in kinds
    large = [t for t in model.graph.initializer if np.prod(t.dims) > 100]
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}


def test_an_encoder_that_leaves_the_range_of_float16_fails(tmp_path):
    class Large(nn.Module):
        def forward(self, images):
            return (images.flatten(1) * 300).square()

    encoder = Encoder(Large(), image_size=4, mean=[0.0], std=[0.25])
    with pytest.raises(ValueError, match=r"range of float16, but got .* at backbone"):
        export_onnx(encoder, tmp_path / "a.onnx", precision="fp16")
    assert list(tmp_path.iterdir()) == []
