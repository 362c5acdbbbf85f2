"""Files in 8-bit integers against the encoder in float64."""

import onnx
import pytest
from photographs import crops

from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    export_onnx,
)


@pytest.fixture(scope="module")
def real():
    return crops(128, 16)


def test_int8_keeps_direction_within_its_gate(make_small, oracle, real, tmp_path):
    path = tmp_path / "int8.onnx"
    report = export_onnx(
        make_small(), path, precision="int8", calibration=real, images=crops(64, 16, 1)
    )
    assert report.passed and report.precision == "int8"
    images = crops(32, 16, seed=2)
    got, expected = EmbeddingSession(path).embed(images), oracle(make_small(), images)
    cosine = (got * expected).sum(axis=1)
    assert cosine.mean() >= 0.9995 and cosine.min() >= 0.998
    weights = {
        tensor.data_type
        for tensor in onnx.load(path).graph.initializer
        if len(tensor.dims) == 4
    }
    assert weights == {onnx.TensorProto.INT8}


@pytest.mark.slow
def test_dynamic_int8_suits_vision_transformers(tmp_path):
    timm = pytest.importorskip("timm")
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=64)
    encoder = Encoder(backbone, image_size=64, mean=[0.5] * 3, std=[0.5] * 3)
    path = tmp_path / "encoder.onnx"
    images = crops(64, 64)
    report = export_onnx(encoder, path, precision="int8-dynamic", images=images)
    assert report.passed and report.size_ratio <= 0.3


def test_dynamic_int8_is_refused_for_convolutions(make_small, tmp_path):
    with pytest.raises(ValueError, match=r"vision transformer .* use precision 'int8'"):
        export_onnx(make_small(), tmp_path / "a.onnx", precision="int8-dynamic")
    assert list(tmp_path.iterdir()) == []
