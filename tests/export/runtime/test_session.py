import shutil
from importlib import metadata

import numpy as np
import onnx
import pytest

from rkdo_plugin.export import (
    CPUSettings,
    CUDASettings,
    EmbeddingSession,
    ProviderError,
    TensorRTSettings,
    libraries,
)
from rkdo_plugin.export.runtime.libraries import nvidia_driver


def test_what_the_session_says_of_itself(small_file):
    session = EmbeddingSession(small_file, provider="cpu")
    assert session.provider == "cpu"
    assert (session.dim, session.image_size, session.channels) == (96, 16, 3)
    assert session.metadata["rkdo.precision"] == "fp32"


def test_an_empty_batch(small_file):
    embeddings = EmbeddingSession(small_file).embed(np.zeros((0, 16, 16, 3), np.uint8))
    assert embeddings.shape == (0, 96) and embeddings.dtype == np.float32


def test_any_number_of_images_in_any_memory_layout(small_file, images):
    session = EmbeddingSession(small_file)
    many = np.tile(images, (60, 1, 1, 1))
    expected = np.tile(session.embed(images), (60, 1))
    np.testing.assert_allclose(session.embed(many), expected, atol=1e-6)
    np.testing.assert_array_equal(
        session.embed(images[::-1, :, ::-1]),
        session.embed(images[::-1, :, ::-1].copy()),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8, bool])
def test_a_wrong_dtype(small_file, images, dtype):
    with pytest.raises(TypeError, match=f"uint8 .* but got {np.dtype(dtype)}"):
        EmbeddingSession(small_file).embed(images.astype(dtype))


@pytest.mark.parametrize("images", [[[0, 0, 0]], "photograph.png", None])
def test_what_is_no_array(small_file, images):
    with pytest.raises(TypeError, match=f"an array .* but got {type(images).__name__}"):
        EmbeddingSession(small_file).embed(images)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((2, 3, 16, 16), "channels come last"),
        ((16, 16, 3), "batch dimension"),
        ((2, 32, 32, 3), ""),
        ((2, 16, 16, 1), ""),
        ((2, 16, 20, 3), ""),
        ((0,), ""),
    ],
)
def test_a_wrong_shape(small_file, shape, hint):
    with pytest.raises(ValueError, match=hint or None) as caught:
        EmbeddingSession(small_file).embed(np.zeros(shape, np.uint8))
    assert "(B, 16, 16, 3)" in str(caught.value) and str(shape) in str(caught.value)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.skipif(nvidia_driver(), reason="has an NVIDIA driver")
def test_a_gpu_that_is_not_there_is_an_error(small_file, provider, capfd):
    with pytest.raises(RuntimeError, match=f"'{provider}' but .* no NVIDIA driver; .*"):
        EmbeddingSession(small_file, provider=provider)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(nvidia_driver(), reason="has an NVIDIA driver")
def test_auto_takes_the_cpu_quietly_when_there_is_no_gpu(small_file, capfd):
    assert EmbeddingSession(small_file).provider == "cpu"
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def driver_without_gpu(monkeypatch):
    if nvidia_driver():
        pytest.skip("has an NVIDIA driver")
    for module in ("session", "providers"):
        name = f"rkdo_plugin.export.runtime.{module}.nvidia_driver"
        monkeypatch.setattr(name, lambda: "a driver")


@pytest.mark.usefixtures("driver_without_gpu")
def test_auto_takes_the_cpu_when_cuda_does_not_load(small_file):
    with pytest.warns(UserWarning, match="'cuda' but it did not load.*on the CPU"):
        assert EmbeddingSession(small_file).provider == "cpu"


@pytest.mark.usefixtures("driver_without_gpu")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_libraries_that_are_not_there_are_an_error(small_file, provider, tmp_path):
    settings = TensorRTSettings(cache=tmp_path) if provider == "tensorrt" else None
    with pytest.raises(ProviderError, match=f"'{provider}' but it did not load: .+"):
        EmbeddingSession(small_file, provider, settings)


def test_an_unknown_provider(small_file):
    with pytest.raises(ValueError, match="auto, cpu, cuda, tensorrt but got 'gpu'"):
        EmbeddingSession(small_file, provider="gpu")


@pytest.mark.parametrize(
    ("provider", "settings", "message"),
    [
        ("cpu", CUDASettings(), "CPUSettings with provider 'cpu' but got CUDASettings"),
        ("cuda", TensorRTSettings(), "CUDASettings with provider 'cuda' but got Tens"),
        ("auto", CPUSettings(1), "provider 'cpu' beside CPUSettings but got 'auto'"),
    ],
)
def test_settings_of_another_provider(small_file, provider, settings, message):
    with pytest.raises(TypeError, match=message):
        EmbeddingSession(small_file, provider, settings)


def test_threads_reach_onnxruntime(small_file, images):
    one = EmbeddingSession(small_file, "cpu", CPUSettings(threads=1))
    assert one._session.get_session_options().intra_op_num_threads == 1
    several = EmbeddingSession(small_file, "cpu")
    assert several._session.get_session_options().intra_op_num_threads == 0
    np.testing.assert_allclose(one.embed(images), several.embed(images), atol=1e-6)


def test_two_onnxruntimes_are_reported(small_file, monkeypatch):
    monkeypatch.setattr(libraries, "version", lambda _: "1.31.1")
    with pytest.warns(UserWarning, match="both onnxruntime and onnxruntime-gpu"):
        EmbeddingSession(small_file)


def test_one_onnxruntime_is_not(small_file, recwarn):
    EmbeddingSession(small_file)
    assert len(recwarn) == 0
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("onnxruntime")


def changed(small_file, tmp_path, change):
    model = onnx.load(small_file)
    change(model)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_every_flipped_bit_of_a_weight_is_detected(small_file, tmp_path):
    original = small_file.read_bytes()
    weights = onnx.load(small_file).graph.initializer[1].raw_data
    start = original.index(weights)
    for place in np.linspace(start, start + len(weights) - 1, 9).astype(int):
        content = bytearray(original)
        content[place] ^= 1 << int(place) % 8
        (tmp_path / "flipped.onnx").write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            EmbeddingSession(tmp_path / "flipped.onnx")


def test_an_onnx_file_from_elsewhere(small_file, tmp_path):
    path = changed(small_file, tmp_path, lambda m: m.ClearField("metadata_props"))
    with pytest.raises(ValueError, match=r"export_onnx.*rkdo\.image_size"):
        EmbeddingSession(path)


def test_weights_outside_the_file(small_file, tmp_path):
    def refer(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../etc/passwd")

    with pytest.raises(ValueError, match=r"are in \.\./\.\./etc/passwd|damaged"):
        EmbeddingSession(changed(small_file, tmp_path, refer))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_no_model(tmp_path, content):
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.onnx"):
        EmbeddingSession(tmp_path / "broken.onnx")


def test_a_truncated_file(small_file, tmp_path):
    path = tmp_path / "short.onnx"
    shutil.copy(small_file, path)
    for share in (0.01, 0.5, 0.99):
        path.write_bytes(small_file.read_bytes()[: int(share * 130_000)])
        with pytest.raises(ValueError, match=r"short\.onnx"):
            EmbeddingSession(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        EmbeddingSession(tmp_path / "none.onnx")
