import os
import stat
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    ParityError,
    export_onnx,
    graph,
)


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


def test_norms_stay_exact_for_long_embeddings(tmp_path):
    encoder = Encoder(nn.Flatten(), image_size=32, mean=[0.0] * 2, std=[1.0] * 2)
    report = export_onnx(encoder, tmp_path / "flat.onnx")
    assert encoder.dim == 2048 and report.max_norm_error <= 5e-7


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


def test_the_file_says_how_to_use_it(small_file, make_small):
    properties = onnxruntime.InferenceSession(
        small_file, providers=["CPUExecutionProvider"]
    ).get_modelmeta()
    metadata = properties.custom_metadata_map
    assert all(key.startswith("rkdo.") for key in metadata)
    assert metadata["rkdo.image_size"] == "16"
    assert metadata["rkdo.channels"] == "3"
    assert metadata["rkdo.mean"] == "[0.48, 0.45, 0.41]"
    assert metadata["rkdo.std"] == "[0.23, 0.22, 0.26]"
    assert metadata["rkdo.dim"] == "96"
    assert metadata["rkdo.precision"] == "fp32"
    assert metadata["rkdo.resize"].startswith("PIL bilinear")
    assert metadata["rkdo.version.torch"] == torch.__version__
    assert len(metadata["rkdo.sha256"]) == 64


def test_equal_encoders_give_equal_bytes_that_name_no_folder(
    small_file, make_small, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    export_onnx(make_small(), "again.onnx")
    content = Path("again.onnx").read_bytes()
    assert content == small_file.read_bytes()
    root = Path(graph.__file__).resolve().parents[1]
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


def test_the_older_exporter_steps_in_behind_the_same_gate(
    make_small, tmp_path, monkeypatch, oracle, images
):
    def fail(*_):
        raise torch.onnx.OnnxExporterError("not expressible")

    monkeypatch.setattr(graph, "_by_dynamo", fail)
    for name in ("once.onnx", "again.onnx"):
        assert export_onnx(make_small(), tmp_path / name).passed
    once, again = (tmp_path / name for name in ("once.onnx", "again.onnx"))
    assert once.read_bytes() == again.read_bytes()
    got = EmbeddingSession(once).embed(images)
    np.testing.assert_allclose(got, oracle(make_small(), images), atol=1e-6)


def test_code_that_looks_at_pixels_is_refused(tmp_path):
    """A tracer would follow one way: pictures that are compared may all go it."""

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


def test_autocast_around_an_export_changes_nothing(small_file, make_small, tmp_path):
    with torch.autocast("cpu", torch.bfloat16):
        export_onnx(make_small(), tmp_path / "small.onnx")
        assert torch.is_autocast_enabled("cpu")
    assert (tmp_path / "small.onnx").read_bytes() == small_file.read_bytes()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_images_in_any_layout(make_small, images, tmp_path, precision):
    bgr = images[::-1, :, ::-1, ::-1]
    output = tmp_path / "encoder.onnx"
    assert export_onnx(make_small(), output, images=bgr, precision=precision).passed


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
        with pytest.raises(FileExistsError, match=r"encoder\.onnx exists"):
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
        def refuse(*_):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(PermissionError, match=r"output folder .*Permission denied"):
            export_onnx(make_small(), tmp_path / "encoder.onnx")

    def test_what_is_exported_is_no_encoder(self, tmp_path):
        with pytest.raises(TypeError, match=r"Encoder\(backbone, .* but got Flatten"):
            export_onnx(nn.Flatten(), tmp_path / "encoder.onnx")

    def test_the_precision_is_unknown(self, make_small, tmp_path):
        with pytest.raises(
            ValueError, match="one of fp32, fp16, int8, int8-dynamic but got 'int4'"
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
    other = graph.to_graph(make_small(seed=1))
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
