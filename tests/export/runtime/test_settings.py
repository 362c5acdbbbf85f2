import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import onnxruntime
import pytest
import torch

from rkdo_plugin.export import CPUSettings, CUDASettings, TensorRTSettings, providers
from rkdo_plugin.export.runtime.providers import private_folder, provider_options
from rkdo_plugin.export.runtime.settings import MAX_BATCH
from rkdo_plugin.export.runtime.trial import tiny_model

IMAGE, CONTENT = (224, 224, 3), b"an encoder"


def options(settings, content=CONTENT):
    """The options of the first provider."""
    return provider_options(settings, IMAGE, content)[0][1]


@pytest.fixture
def tensorrt(tmp_path):
    return TensorRTSettings(cache=tmp_path)


def test_the_cpu_is_never_a_second_choice(tensorrt):
    names = [
        [name for name, _ in provider_options(settings, IMAGE, CONTENT)]
        for settings in (CPUSettings(), CUDASettings(), tensorrt)
    ]
    assert names == [
        ["CPUExecutionProvider"],
        ["CUDAExecutionProvider"],
        ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"device": 3}, {"device_id": "3"}),
        ({"profile": "speed"}, {"use_tf32": "1"}),
        ({"memory_limit": 2**31}, {"gpu_mem_limit": "2147483648"}),
        ({"nhwc": True}, {"prefer_nhwc": "1"}),
        ({"cuda_graphs": (1, 8)}, {"enable_cuda_graph": "1"}),
    ],
)
def test_every_cuda_setting_changes_its_option_alone(changed, expected):
    before = options(CUDASettings())
    assert before | expected == options(CUDASettings(**changed)) != before


def test_cuda_keeps_the_arithmetic_of_the_parity_gate():
    assert options(CUDASettings())["use_tf32"] == "0"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"device": 3}, {"device_id": "3"}),
        ({"opt_batch": 8}, {"trt_profile_opt_shapes": "image:8x224x224x3"}),
        ({"max_batch": 64}, {"trt_profile_max_shapes": "image:64x224x224x3"}),
        ({"workspace": 2**30}, {"trt_max_workspace_size": "1073741824"}),
    ],
)
def test_every_tensorrt_setting_changes_its_option_alone(tensorrt, changed, expected):
    before = options(tensorrt)
    assert before | expected == options(replace(tensorrt, **changed)) != before


def test_tensorrt_covers_every_batch_that_a_session_runs(tensorrt):
    found = options(tensorrt)
    assert found["trt_profile_min_shapes"] == "image:1x224x224x3"
    assert found["trt_profile_opt_shapes"] == "image:32x224x224x3"
    assert found["trt_profile_max_shapes"] == f"image:{MAX_BATCH}x224x224x3"
    one = options(replace(tensorrt, max_batch=1))
    assert one["trt_profile_opt_shapes"] == "image:1x224x224x3"


def test_tensorrt_leaves_precision_to_the_graph(tensorrt):
    words = ("fp16", "bf16", "int8", "fp8")
    assert not [name for name in options(tensorrt) if any(w in name for w in words)]


def test_nodes_that_tensorrt_leaves_run_on_the_same_gpu(tensorrt):
    _, (_, cuda) = provider_options(replace(tensorrt, device=2), IMAGE, CONTENT)
    assert cuda == options(CUDASettings(device=2))


def test_engines_lie_apart_by_model_versions_and_gpu(tensorrt, monkeypatch, tmp_path):
    def folder(content=CONTENT):
        found = options(tensorrt, content)
        assert found["trt_timing_cache_path"] == found["trt_engine_cache_path"]
        return Path(found["trt_engine_cache_path"])

    folders = [folder(), folder(b"another")]
    monkeypatch.setattr(onnxruntime, "__version__", "9.9.9")
    folders.append(folder())
    monkeypatch.setattr(providers, "tensorrt_version", lambda: "10.16.1")
    folders.append(folder())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA L4 / PCIe")
    folders.append(folder())
    assert len(set(folders)) == 5
    assert {path.parent for path in folders} == {tmp_path}
    key = sha256(CONTENT).hexdigest()[:16]
    assert folders[-1].name == f"{key}-ort9.9.9-trt10.16.1-NVIDIA-L4-PCIe"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in folders)


def test_engines_are_not_read_from_where_others_may_write(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="only its owner may write to but got"):
        private_folder(tmp_path)


@pytest.mark.parametrize("settings", [CPUSettings, CUDASettings, TensorRTSettings])
def test_a_gpus_libraries_are_loaded_before_the_session(
    settings, tmp_path, monkeypatch
):
    def open_nothing(*_, **__):
        steps.append("session")
        raise RuntimeError("there is no GPU")

    steps = []
    monkeypatch.setattr(providers, "nvidia_driver", object)
    monkeypatch.setattr(providers, "preload", steps.append)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_nothing)
    given = settings(cache=tmp_path) if settings is TensorRTSettings else settings()
    with pytest.raises(providers.ProviderError, match="there is no GPU"):
        providers.open_session(tiny_model(), given, (2, 2, 3))
    first = [] if settings is CPUSettings else [settings.provider]
    assert steps == [*first, "session"]


@pytest.mark.parametrize(
    ("settings", "wrong", "message"),
    [
        (CPUSettings, {"threads": 0}, "`threads` to be at least 1 but got 0"),
        (CUDASettings, {"device": -1}, "`device` to be at least 0 but got -1"),
        (CUDASettings, {"memory_limit": 0}, "`memory_limit` to be at least 1 but got"),
        (CUDASettings, {"cuda_graphs": (8, 0)}, "`cuda_graphs` to be at least 1 but g"),
        (CUDASettings, {"profile": "fast"}, "parity or speed but got 'fast'"),
        (TensorRTSettings, {"device": -1}, "`device` to be at least 0 but got -1"),
        (TensorRTSettings, {"max_batch": 0}, "`max_batch` to be at least 1 but got 0"),
        (TensorRTSettings, {"opt_batch": 0}, "`opt_batch` to be at least 1 but got 0"),
        (TensorRTSettings, {"workspace": 0}, "`workspace` to be at least 1 but got 0"),
        (
            TensorRTSettings,
            {"opt_batch": 65, "max_batch": 64},
            "`opt_batch` to be at most `max_batch` = 64 but got 65",
        ),
    ],
)
def test_settings_out_of_range(settings, wrong, message):
    with pytest.raises(ValueError, match=message):
        settings(**wrong)


@pytest.mark.parametrize("wrong", [True, 8, "8", (8.0,), (True,), [8], b"8"])
def test_graphs_are_of_batch_sizes(wrong):
    with pytest.raises(TypeError, match=r"tuple of batch sizes, as \(1, 8, 32\), but"):
        CUDASettings(cuda_graphs=wrong)
