"""Every precision against the encoder in float64, and what the gates refuse."""

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits, load_sample_images
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    quantize,
)
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.verification.calibration import require_real_images


def crops(count, size, seed=0):
    """Real images: crops of scikit-learn's photographs."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        photograph = load_sample_images().images[number % 2]
        top, left = (generator.integers(0, n - size) for n in photograph.shape[:2])
        found.append(photograph[top : top + size, left : left + size])
    return np.stack(found)


@pytest.fixture(scope="module")
def real():
    return crops(128, 16)


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


def test_int8_of_a_resnet_is_a_quarter_of_its_parameters(make_resnet18, tmp_path):
    real = crops(64, 32)
    path = tmp_path / "int8.onnx"
    export_onnx(make_resnet18(), tmp_path / "float32.onnx")
    # Random weights: whether they keep their neighbours is not the question here.
    try:
        size = quantize(tmp_path / "float32.onnx", path, real).file_bytes
    except ParityError as error:
        size = error.report.file_bytes
    assert size <= 0.27 * 4 * 11_176_512


def test_a_file_is_quantised_without_its_checkpoint(
    small_file, make_small, real, tmp_path
):
    report = quantize(small_file, tmp_path / "int8.onnx", real)
    assert report.passed and report.compared_with == "small.onnx on cpu"
    export_onnx(make_small(), tmp_path / "b.onnx", precision="int8", calibration=real)
    images = crops(16, 16, seed=3)
    np.testing.assert_array_equal(
        EmbeddingSession(tmp_path / "int8.onnx").embed(images),
        EmbeddingSession(tmp_path / "b.onnx").embed(images),
    )
    with pytest.raises(ValueError, match="to be of precision 'fp32' but it is of"):
        quantize(tmp_path / "int8.onnx", tmp_path / "c.onnx", real)


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


def test_calibration_goes_with_int8_alone(make_small, real, tmp_path):
    with pytest.raises(ValueError, match="`calibration` for precision 'int8'"):
        export_onnx(make_small(), tmp_path / "a.onnx", precision="int8")
    with pytest.raises(ValueError, match="no `calibration` for precision 'fp16'"):
        export_onnx(
            make_small(), tmp_path / "a.onnx", precision="fp16", calibration=real
        )
    with pytest.raises(ValueError, match=r"\(B, 16, 16, 3\)"):
        export_onnx(
            make_small(),
            tmp_path / "a.onnx",
            precision="int8",
            calibration=crops(32, 20),
        )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 16, 16, 3), np.uint8), "at least 16 calibration images"),
        (crops(15, 16), "but got 15"),
        (np.full((64, 16, 16, 3), 127, np.uint8), "100% are of one colour"),
        (np.tile(crops(2, 16), (32, 1, 1, 1)), "only 3% are"),
        (
            np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8),
            "got noise",
        ),
    ],
)
def test_calibration_images_that_show_nothing_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        require_real_images(images)


def test_real_and_drawn_images_calibrate():
    require_real_images(crops(16, 16))
    require_real_images(sample_images(16, 32, 1))
    digits = load_digits().images[:64, :, :, None] * 15
    require_real_images(digits.astype(np.uint8))


def test_an_encoder_that_leaves_the_range_of_float16_fails(tmp_path):
    class Large(nn.Module):
        def forward(self, images):
            return (images.flatten(1) * 300).square()

    encoder = Encoder(Large(), image_size=4, mean=[0.0], std=[0.25])
    with pytest.raises(ValueError, match=r"range of float16, but got .* at backbone"):
        export_onnx(encoder, tmp_path / "a.onnx", precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_float32_graph_never_reaches_int8(
    make_small, real, tmp_path, monkeypatch
):
    from rkdo_plugin.export.graph import build as graph

    other = graph.to_graph(make_small(seed=1))
    monkeypatch.setattr("rkdo_plugin.export.onnx.to_graph", lambda *_, **__: other)
    with pytest.raises(ParityError) as caught:
        export_onnx(
            make_small(), tmp_path / "a.onnx", precision="int8", calibration=real
        )
    assert caught.value.report.precision == "fp32"


def test_places_on_a_map_are_held_to_their_largest_component(tmp_path):
    backbone = nn.Sequential(create_encoder("small-convnet"), nn.Linear(96, 2))
    encoder = Encoder(
        backbone, image_size=16, mean=[0.5] * 3, std=[0.5] * 3, normalize=False
    )
    report = export_onnx(encoder, tmp_path / "a.onnx", precision="fp16")
    assert report.passed and np.isnan(report.max_norm_error)
    assert report.max_abs > 0
