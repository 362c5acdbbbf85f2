"""An export is the file that computes the formula, or there is no file."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from photographs import crops
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    verify,
    write_triton_repository,
)
from rkdo_plugin.export.graph import build


def test_the_exported_graph_computes_the_formula(
    small_file, make_small, oracle, images
):
    got = EmbeddingSession(small_file).embed(images)
    np.testing.assert_allclose(got, oracle(make_small(), images), atol=1e-6)


def test_a_grey_encoder_round_trips(tmp_path):
    encoder = Encoder(
        create_encoder("small-convnet", in_channels=1),
        image_size=28,
        mean=[0.3],
        std=[0.3],
    )
    assert export_onnx(encoder, tmp_path / "grey.onnx").passed
    assert EmbeddingSession(tmp_path / "grey.onnx").channels == 1


@pytest.mark.parametrize("resized", [False, True])
def test_an_encoder_of_oblong_images_round_trips(tmp_path, make_small, oracle, resized):
    encoder = make_small(image_size=(24, 16))
    path = tmp_path / "oblong.onnx"
    assert export_onnx(encoder, path, resize=resized).passed
    session = EmbeddingSession(path)
    assert session.image_size == encoder.image_size == (24, 16)
    assert session.metadata["rkdo.image_size"] == "24x16"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 24, 16, 3), dtype=np.uint8)
    np.testing.assert_allclose(
        session.embed(pixels),
        oracle(encoder, pixels),
        atol=1e-6 if not resized else 1e-5,
    )
    with pytest.raises(ValueError, match=r"\(B, 24, 16, 3\) but got \(5, 16, 24, 3\)"):
        encoder.embed(pixels.transpose(0, 2, 1, 3))
    if not resized:
        assert verify(path, encoder).passed
        config = to_config(tmp_path, path)
        assert config.replace(" ", "").count("dims:24\ndims:16\ndims:3") == 4


def to_config(folder, model):
    write_triton_repository(model, folder / "models", name="oblong")
    return (folder / "models" / "oblong" / "config.pbtxt").read_text()


def test_norms_stay_exact_for_long_embeddings(tmp_path):
    encoder = Encoder(nn.Flatten(), image_size=32, mean=[0.0] * 2, std=[1.0] * 2)
    report = export_onnx(encoder, tmp_path / "flat.onnx")
    assert encoder.dim == 2048 and report.max_norm_error <= 5e-7


def test_equal_encoders_give_equal_bytes_that_name_no_folder(
    small_file, make_small, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    export_onnx(make_small(), "again.onnx")
    content = Path("again.onnx").read_bytes()
    assert content == small_file.read_bytes()
    root = Path(build.__file__).resolve().parents[2]
    for folder in (root, Path(torch.__file__).parent, Path.home(), tmp_path):
        assert str(folder).encode() not in content
    assert b'File "' not in content


def test_file_names_and_permissions(small_file, make_small, tmp_path):
    report = export_onnx(make_small(), tmp_path / "encoder.onnx")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["encoder.onnx", "encoder.onnx.sha256"]
    assert report.file_bytes == (tmp_path / "encoder.onnx").stat().st_size
    umask = os.umask(0)
    os.umask(umask)
    mode = stat.S_IMODE((tmp_path / "encoder.onnx").stat().st_mode)
    assert mode == 0o666 & ~umask


def test_autocast_around_an_export_changes_nothing(small_file, make_small, tmp_path):
    with torch.autocast("cpu", torch.bfloat16):
        export_onnx(make_small(), tmp_path / "small.onnx")
        assert torch.is_autocast_enabled("cpu")
    assert (tmp_path / "small.onnx").read_bytes() == small_file.read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_images_in_any_layout(make_small, images, tmp_path, precision):
    bgr = images[::-1, :, ::-1, ::-1]
    output = tmp_path / "encoder.onnx"
    report = export_onnx(make_small(), output, images=bgr, precision=precision)
    assert report.passed and report.images == len(images)


@pytest.fixture
def never_exported(monkeypatch):
    def fail(*_):
        raise AssertionError("the expensive export ran before the cheap checks")

    monkeypatch.setattr("rkdo_plugin.export.onnx.to_graph", fail)


@pytest.mark.usefixtures("never_exported")
class TestRefusedBeforeTheWork:
    def test_the_output_exists(self, make_small, tmp_path):
        path = tmp_path / "encoder.onnx"
        path.write_text("precious")
        with pytest.raises(
            FileExistsError, match=r"no file at .*encoder\.onnx but it exists"
        ):
            export_onnx(make_small(), path)
        assert path.read_text() == "precious"
        assert list(tmp_path.iterdir()) == [path]

    def test_the_folder_is_missing(self, make_small, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"output folder .*missing"):
            export_onnx(make_small(), tmp_path / "missing" / "encoder.onnx")

    def test_the_folder_is_a_file(self, make_small, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError, match=r"output folder .*file"):
            export_onnx(make_small(), tmp_path / "file" / "encoder.onnx")

    def test_the_output_is_a_folder(self, make_small, tmp_path):
        with pytest.raises(IsADirectoryError, match="is a folder"):
            export_onnx(make_small(), tmp_path, overwrite=True)

    def test_the_folder_is_read_only(self, make_small, tmp_path, monkeypatch):
        # The tests may run as root, whom file modes do not stop.
        opened = os.open

        def refuse(path, flags, *others, **named):
            if flags & os.O_RDWR:
                raise PermissionError(13, "Permission denied")
            return opened(path, flags, *others, **named)

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(PermissionError, match=r"output folder .*Permission denied"):
            export_onnx(make_small(), tmp_path / "encoder.onnx")

    def test_what_is_exported_is_no_encoder(self, tmp_path):
        with pytest.raises(TypeError, match=r"but got Flatten; .*Encoder\(backbone, "):
            export_onnx(nn.Flatten(), tmp_path / "encoder.onnx")

    def test_the_precision_is_unknown(self, make_small, tmp_path):
        with pytest.raises(
            ValueError, match=r"one of fp32, fp16, int8, int8-dynamic, .* got 'int4'"
        ):
            export_onnx(make_small(), tmp_path / "encoder.onnx", precision="int4")


def test_overwrite_replaces_the_file(small_file, make_small, tmp_path):
    path = tmp_path / "encoder.onnx"
    path.write_text("old")
    export_onnx(make_small(), path, overwrite=True)
    assert path.read_bytes() == small_file.read_bytes()


def test_a_failing_gate_leaves_the_old_file(make_small, tmp_path, monkeypatch):
    path = tmp_path / "encoder.onnx"
    path.write_text("old")
    other = build.to_graph(make_small(seed=1))
    monkeypatch.setattr("rkdo_plugin.export.onnx.to_graph", lambda *_, **__: other)
    with pytest.raises(ParityError, match="FAILED") as caught:
        export_onnx(make_small(), path, overwrite=True)
    assert caught.value.report.max_abs > 1e-3
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "size"), [("vit_tiny_patch16_224", 64), ("maxvit_nano_rw_256", 64)]
)
def test_timm_models(model, size, tmp_path):
    timm = pytest.importorskip("timm")
    backbone = timm.create_model(model, num_classes=0, img_size=size)
    encoder = Encoder(backbone, image_size=size, mean=[0.5] * 3, std=[0.5] * 3)
    report = export_onnx(encoder, tmp_path / "encoder.onnx")
    assert report.passed and report.size_ratio <= 1.1


EXPORT = """
import sys, torch
from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx
torch.manual_seed(0)
encoder = Encoder(
    create_encoder("small-convnet"), image_size=16, mean=[.5] * 3, std=[.5] * 3
)
export_onnx(encoder, sys.argv[1])
"""


def test_two_processes_write_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", EXPORT, tmp_path / name / "e.onnx"]
        subprocess.run(command, check=True, cwd=tmp_path / name)
    for name in ("e.onnx", "e.onnx.sha256"):
        assert (tmp_path / "a" / name).read_bytes() == (
            tmp_path / "b" / name
        ).read_bytes()


def test_modules_keep_their_modes(tmp_path, make_small):
    backbone = create_encoder("small-convnet").train()
    backbone.layers[0].eval()
    modes = [part.training for part in backbone.modules()]
    encoder = Encoder(backbone, image_size=16, mean=[0.5] * 3, std=[0.5] * 3)
    encoder.backbone.layers[1].train()
    inside = [part.training for part in encoder.modules()]
    assert export_onnx(encoder, tmp_path / "a.onnx").passed
    assert [part.training for part in backbone.modules()] == modes
    assert [part.training for part in encoder.modules()] == inside


def test_a_wrong_float32_graph_never_reaches_int8(make_small, tmp_path, monkeypatch):
    other = build.to_graph(make_small(seed=1))
    monkeypatch.setattr("rkdo_plugin.export.onnx.to_graph", lambda *_, **__: other)
    with pytest.raises(ParityError) as caught:
        export_onnx(
            make_small(),
            tmp_path / "a.onnx",
            precision="int8",
            calibration=crops(128, 16),
        )
    assert caught.value.report.precision == "fp32"
