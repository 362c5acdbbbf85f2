"""A session runs on the provider that was asked for, or there is none."""

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from rkdo_plugin import create_encoder
from rkdo_plugin.export import (
    CPUSettings,
    CUDASettings,
    EmbeddingSession,
    Encoder,
    ProviderError,
    TensorRTSettings,
    export_onnx,
)
from rkdo_plugin.export.file.seal import seal
from rkdo_plugin.export.runtime.libraries import nvidia_driver


def test_what_the_session_says_of_itself(small_file):
    session = EmbeddingSession(small_file, provider="cpu")
    assert session.provider == "cpu"
    assert (session.dim, session.image_size, session.channels) == (96, 16, 3)
    assert session.metadata["rkdo.precision"] == "fp32"


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
@pytest.mark.skipif(nvidia_driver(), reason="has an NVIDIA driver")
def test_a_gpu_that_is_not_there_is_an_error(small_file, provider, capfd):
    with pytest.raises(RuntimeError, match=f"'{provider}' to .* no NVIDIA driver; .*"):
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
    with pytest.warns(UserWarning, match="'cuda' to load but .*running on the CPU"):
        assert EmbeddingSession(small_file).provider == "cpu"


@pytest.mark.usefixtures("driver_without_gpu")
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_build_without_the_provider_is_an_error(
    small_file, provider, tmp_path, monkeypatch
):
    built = ["AzureExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built)
    settings = {"cuda": CUDASettings(), "tensorrt": TensorRTSettings(cache=tmp_path)}
    message = f"'{provider}' to load but this onnxruntime is built without it; .*doctor"
    with pytest.raises(ProviderError, match=message):
        EmbeddingSession(small_file, settings[provider])


@pytest.mark.usefixtures("driver_without_gpu")
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs onnxruntime-gpu",
)
@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_libraries_that_are_not_there_are_an_error(small_file, provider, tmp_path):
    settings = {"cuda": CUDASettings(), "tensorrt": TensorRTSettings(cache=tmp_path)}
    with pytest.raises(ProviderError, match=f"'{provider}' to load but onnxrunt.+: .+"):
        EmbeddingSession(small_file, settings[provider])


def test_an_unknown_provider(small_file):
    with pytest.raises(ValueError, match="auto, cpu, cuda, tensorrt but got 'gpu'"):
        EmbeddingSession(small_file, provider="gpu")


def test_a_provider_by_its_settings(small_file):
    assert EmbeddingSession(small_file, CPUSettings(threads=1)).provider == "cpu"


@pytest.mark.parametrize("wrong", [None, CUDASettings, {"device": 1}])
def test_what_is_neither_a_name_nor_settings(small_file, wrong):
    with pytest.raises(TypeError, match=f"but got {type(wrong).__name__}"):
        EmbeddingSession(small_file, wrong)


@pytest.mark.parametrize("provider", ["auto", "cpu", CPUSettings(threads=1)])
def test_threads_reach_onnxruntime(small_file, images, provider):
    given = {"threads": 1} if isinstance(provider, str) else {}
    one = EmbeddingSession(small_file, provider, **given)
    assert one.threads == 1
    assert one._session.get_session_options().intra_op_num_threads == 1
    several = EmbeddingSession(small_file, "cpu")
    assert several._session.get_session_options().intra_op_num_threads == 0
    np.testing.assert_allclose(one.embed(images), several.embed(images), atol=1e-6)


def test_threads_beside_settings_are_refused(small_file):
    with pytest.raises(ValueError, match="in the settings but got 2 beside them"):
        EmbeddingSession(small_file, CPUSettings(), threads=2)


def test_what_is_made_for_one_size_is_refused_before_it_is_made_for_each(tmp_path):
    options = {"image_size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    encoder = Encoder(create_encoder("small-convnet"), any_size=True, **options)
    export_onnx(encoder, tmp_path / "any.onnx")
    for provider in ("tensorrt", TensorRTSettings(), CUDASettings(cuda_graphs=(1,))):
        with pytest.raises(ValueError, match=r"one size, .* but any.onnx takes any"):
            EmbeddingSession(tmp_path / "any.onnx", provider)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (4, 0), (4, 1)])
def test_files_come_back_in_order_with_a_vector_or_an_error(
    small_file, images, tmp_path, batch_size, workers
):
    session = EmbeddingSession(small_file, "cpu")
    paths = [tmp_path / f"{number}.png" for number in (3, 1, 4, 0, 5, 2)]
    for path in paths:
        Image.fromarray(images[int(path.stem)]).save(path)
    paths[2].write_text("no picture")
    paths[4].unlink()
    found = list(
        session.embed_files(map(str, paths), batch_size=batch_size, workers=workers)
    )
    assert [path for path, _ in found] == paths
    for path, vector in found:
        if path in (paths[2], paths[4]):
            assert isinstance(vector, OSError)
        else:
            expected = session.embed(images[[int(path.stem)]])[0]
            np.testing.assert_allclose(vector, expected, atol=1e-6)
    assert "not a picture" in str(found[2][1]) and "No such file" in str(found[4][1])
    assert list(session.embed_files([])) == []


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"workers": -1}])
def test_numbers_of_files_and_workers_out_of_range(small_file, option):
    session = EmbeddingSession(small_file, "cpu")
    with pytest.raises(ValueError, match=f"Expected `{next(iter(option))}` to be at"):
        list(session.embed_files([], **option))


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("dim", "7", r"\[None, 7\].* but got .*\[None, 96\]"),
        ("channels", "1", r"16, 1\].* but got .*16, 3\]"),
        ("image_size", "8x16", r"\[None, 8, 16, 3\].* but got"),
        ("any_size", "true", r"\[None, None, None, 3\].* but got"),
        ("dim", "x", r"rkdo\.dim of .* at least 1 but got 'x'"),
        ("dim", "-1", r"rkdo\.dim of .* at least 1 but got '-1'"),
        ("channels", "9" * 5000, r"rkdo\.channels of .* at least 1 but got"),
        ("image_size", "9" * 5000, "`image_size` to be one integer"),
        ("normalize", "yes", r"rkdo\.normalize of .* true or false but got 'yes'"),
    ],
)
def test_metadata_that_the_graph_does_not_bear_out(small_file, key, value, match):
    """Numpy would repeat one number of a vector for all."""
    model = onnx.load(small_file)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    content, _ = seal(model, metadata | {f"rkdo.{key}": value})
    changed = small_file.with_name("changed.onnx")
    changed.write_bytes(content)
    with pytest.raises(ValueError, match=match):
        EmbeddingSession(changed, "cpu")
    changed.unlink()
