"""Small errors fail the gate, and files that do not run fail, too."""

import copy

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    verify,
)
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.file.seal import seal
from rkdo_plugin.export.graph import build


def test_the_right_file_passes_on_images_that_are_given(small_file, make_small, images):
    report = verify(small_file, make_small(), images)
    assert report.passed and report.finite and report.failures == ()
    assert report.batches == (1, 2, 7, 33) and report.images == len(images)
    assert report.file_bytes == small_file.stat().st_size
    assert "passed" in str(report)


def altered(encoder, change):
    """A changed copy of an encoder, as a faulty conversion could export it."""
    wrong = copy.deepcopy(encoder)
    with torch.no_grad():
        change(wrong)
    return wrong


def wrong_eps(encoder):
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-3


def noise(encoder):
    generator = torch.Generator().manual_seed(1)
    for weight in encoder.parameters():
        weight.mul_(1 + 0.003 * torch.randn(weight.shape, generator=generator))


def shifted_input(encoder):
    encoder.mean.sub_(0.01)


def wrong_std(encoder):
    encoder.std.mul_(1.02)


def swapped_channels(encoder):
    encoder.mean.copy_(encoder.mean.flip(0))


def bgr(encoder):
    first = next(m for m in encoder.modules() if isinstance(m, nn.Conv2d))
    first.weight.copy_(first.weight.flip(1))


def permuted_output(encoder):
    finish = encoder.finish
    encoder.finish = lambda features: finish(features).roll(1, dims=1)


def one_weight(encoder):
    weight = next(encoder.parameters())
    weight[0, 0, 0, 0] += 0.01 * weight.abs().max()


CHANGES = [
    wrong_eps,
    noise,
    shifted_input,
    wrong_std,
    swapped_channels,
    bgr,
    permuted_output,
    one_weight,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_small_error_fails_the_gate(small_file, make_small, change):
    wrong = altered(make_small(), change)
    report = verify(small_file, wrong)
    assert not report.passed
    assert report.max_abs > 1e-5, report
    assert "Expected max |difference| to be <= 1e-05" in str(report)


@pytest.mark.parametrize("change", CHANGES[:-1])
def test_a_small_error_in_a_resnet_fails_the_gate(
    resnet18_files, make_resnet18, change
):
    report = verify(resnet18_files["fp32"], altered(make_resnet18(), change))
    assert not report.passed, report


@pytest.mark.parametrize(
    "change", [noise, shifted_input, swapped_channels, bgr, permuted_output]
)
def test_an_error_above_the_noise_of_float16_fails_its_gate(
    resnet18_files, make_resnet18, change
):
    report = verify(resnet18_files["fp16"], altered(make_resnet18(), change))
    assert not report.passed and report.precision == "fp16", report


def test_errors_below_the_noise_of_a_precision_fail_the_float32_gate_before(
    make_small, tmp_path, monkeypatch
):
    other = build.to_graph(altered(make_small(), wrong_eps))
    monkeypatch.setattr("rkdo_plugin.export.onnx.to_graph", lambda *_, **__: other)
    with pytest.raises(ParityError) as caught:
        export_onnx(make_small(), tmp_path / "half.onnx", precision="fp16")
    assert caught.value.report.precision == "fp32"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def resnet18_files(make_resnet18, tmp_path_factory):
    folder, files = tmp_path_factory.mktemp("resnet18"), {}
    for precision, ratio in (("fp32", 1.01), ("fp16", 0.52)):
        files[precision] = folder / f"{precision}.onnx"
        report = export_onnx(make_resnet18(), files[precision], precision=precision)
        assert report.passed and report.size_ratio <= ratio
        assert report.parameter_bytes == 4 * 11_176_512
    return files


def test_an_encoder_that_turned_nan_leaves_no_file(make_small, tmp_path):
    encoder = make_small()
    with torch.no_grad():
        next(encoder.parameters()).fill_(float("nan"))
    with pytest.raises(ParityError, match="Expected finite embeddings") as caught:
        export_onnx(encoder, tmp_path / "encoder.onnx")
    assert not caught.value.report.finite
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_gives_zeros_fails(tmp_path):
    class Dead(nn.Module):
        def forward(self, images):
            return images.flatten(1) * 0

    with pytest.raises(ParityError, match=r"norm - 1\| to be <= 1e-06 but got 1"):
        encoder = Encoder(Dead(), image_size=2, mean=[0.5], std=[0.5])
        export_onnx(encoder, tmp_path / "encoder.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_mixes_its_batch_is_still_compared_at_every_size(tmp_path):
    class Centred(nn.Module):
        def forward(self, images):
            features = images.flatten(1)
            return features - 0.5 * features.mean(dim=0)

    encoder = Encoder(Centred(), image_size=4, mean=[0.5], std=[0.5])
    assert export_onnx(encoder, tmp_path / "encoder.onnx").passed


def test_a_file_of_another_dimension_or_size_fails(small_file, make_small):
    flat = Encoder(nn.Flatten(), image_size=16, mean=[0.5] * 3, std=[0.5] * 3)
    (failure,) = verify(small_file, flat).failures
    assert failure.startswith("Expected a file with 768 components")
    (failure,) = verify(small_file, make_small(image_size=20)).failures
    assert failure.endswith("but got (B, 16, 16, 3)") and "(B, 20, 20, 3)" in failure


def test_a_graph_fixed_to_one_batch_size_fails(small_file, make_small, tmp_path):
    model = onnx.load(small_file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 2
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    (tmp_path / "fixed.onnx").write_bytes(seal(model, metadata)[0])
    report = verify(tmp_path / "fixed.onnx", make_small())
    assert not report.passed and np.isnan(report.max_abs)
    assert report.provider == "nothing" and report.images == 0
    assert "failed: Expected fixed.onnx to run but got: " in str(report)


def test_a_flipped_weight_bit_fails(small_file, make_small, tmp_path):
    model = onnx.load(small_file)
    weights = bytearray(model.graph.initializer[0].raw_data)
    weights[0] ^= 1
    model.graph.initializer[0].raw_data = bytes(weights)
    onnx.save(model, tmp_path / "flipped.onnx")
    assert "damaged" in str(verify(tmp_path / "flipped.onnx", make_small()))


@pytest.mark.parametrize("content", [b"", b"not an onnx file", None])
def test_a_file_that_is_no_model_fails(small_file, make_small, tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(small_file.read_bytes()[:-5000] if content is None else content)
    assert not verify(path, make_small()).passed


def test_bad_arguments(small_file, make_small, tmp_path, images):
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none.onnx", make_small())
    with pytest.raises(ValueError, match="at least one image"):
        verify(small_file, make_small(), images[:0])
    with pytest.raises(TypeError, match="uint8"):
        verify(small_file, make_small(), images.astype(np.float32))
    with pytest.raises(ValueError, match=r"shape \(9,\), one for .* but got \(8,\)"):
        verify(small_file, make_small(), images, labels=[0] * 8)
    with pytest.raises(ValueError, match="auto, cpu, cuda, tensorrt but got 'gpu'"):
        verify(small_file, make_small(), images, provider="gpu")


class Foreign:
    """Embeds images as a user's own class may do it."""

    image_size = fixed_size = 16
    channels, dim, normalize, any_size = 3, 96, True, False

    def __init__(self, encoder):
        self.embed = encoder.embed


def test_whatever_embeds_images_can_be_the_reference(small_file, make_small):
    report = verify(small_file, Foreign(make_small()))
    assert report.passed and report.compared_with == "Foreign"
    assert report.parameter_bytes == 0 and report.size_ratio == np.inf
    assert not verify(small_file, Foreign(make_small(seed=1))).passed


def test_the_reference_is_named(small_file, make_small, copied):
    session = EmbeddingSession(small_file)
    assert verify(small_file, session).compared_with == (
        "itself, not its encoder, on cpu"
    )
    export_onnx(make_small(), copied.with_name("half.onnx"), precision="fp16")
    half = verify(copied.with_name("half.onnx"), session)
    assert half.passed and half.compared_with == "small.onnx on cpu"
    assert verify(small_file, make_small()).compared_with == (
        f"its encoder in PyTorch {torch.__version__}"
    )


def test_the_worst_images_come_first(small_file, make_small):
    images = sample_images(50, 16, 3)
    report = verify(small_file, make_small(seed=1), images)
    apart = 1 - (
        make_small(seed=1).embed(images) * EmbeddingSession(small_file).embed(images)
    ).sum(axis=1)
    assert report.worst == tuple(np.argsort(-apart)[:5].tolist())
    np.testing.assert_allclose(
        report.worst_one_minus_cosine, np.sort(apart)[:-6:-1], atol=1e-6
    )
