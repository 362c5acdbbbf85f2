"""Each setting changes the option it is for, and nothing else."""

from dataclasses import replace

import pytest

from rkdo_plugin.export import CPUSettings, CUDASettings, TensorRTSettings
from rkdo_plugin.export.encoder.images import MAX_BATCH
from rkdo_plugin.export.runtime.providers import provider_options
from rkdo_plugin.export.runtime.settings import settings_of

IMAGE, CONTENT = (224, 224, 3), b"an encoder"


def options(settings, content=CONTENT):
    """The options of the first provider."""
    return provider_options(settings, IMAGE, content)[0][1]


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
    int8 = options(tensorrt, content=b"... rkdo.precision int8-tensorrt ...")
    assert int8["trt_int8_enable"] == "True"  # it only lets the graph's 8 bits be


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
    with pytest.raises(TypeError, match=r"batch sizes, such as \(1, 8, 32\), but"):
        CUDASettings(cuda_graphs=wrong)


@pytest.mark.parametrize("settings", [CPUSettings, CUDASettings, TensorRTSettings])
def test_a_name_stands_for_default_settings(settings):
    assert settings_of(settings.provider) == settings()
    other = settings(threads=2) if settings is CPUSettings else settings(device=2)
    assert settings_of(other) is other


def test_what_settings_are_asked_of():
    with pytest.raises(ValueError, match="auto, cpu, cuda, tensorrt but got 'gpu'"):
        settings_of("gpu")
    with pytest.raises(
        TypeError, match=r"a name or one of CPUSettings, .* but got int"
    ):
        settings_of(0)
