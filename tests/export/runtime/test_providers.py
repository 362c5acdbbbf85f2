"""Providers with their options, which onnxruntime's own parsers read."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import onnxruntime
import pytest
import torch

from rkdo_plugin.export import CPUSettings, CUDASettings, TensorRTSettings
from rkdo_plugin.export.runtime import providers
from rkdo_plugin.export.runtime.providers import private_folder, provider_options
from rkdo_plugin.export.runtime.trial import tiny_model

# Tries each of the options alone, and prints a line about it.
PROGRAM = """
from pathlib import Path
from rkdo_plugin.export.runtime.providers import ProviderError, open_session
from rkdo_plugin.export import {kind}
from rkdo_plugin.export.runtime.trial import tiny_model

def attempt(**alone):
    class One({kind}):
        def options(self, *_):
            return alone

    try:
        open_session(tiny_model(), One({arguments}), (2, 2, 3))
    except ProviderError as error:
        print(*alone, str(error).replace("\\n", " "))

for name, value in {options}.items():
    attempt(**{{name: value}})
"""


@pytest.fixture
def attempt(stubs, tmp_path):
    """A function that tells what onnxruntime says about each option alone."""

    def attempt(kind, options):
        arguments = f"cache=Path({str(tmp_path)!r})" if kind[0] == "T" else ""
        program = PROGRAM.format(kind=kind, arguments=arguments, options=options)
        child = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"LD_LIBRARY_PATH": str(stubs)},
            cwd=tmp_path,  # the checkout would hide the installed package
            capture_output=True,
            text=True,
        )
        assert child.returncode == 0, child.stderr
        if "cannot open shared object file" in child.stderr:
            pytest.skip("needs the libraries of CUDA")
        lines = [line.partition(" ") for line in child.stdout.splitlines()]
        return {option: error for option, _, error in lines}

    return attempt


CUDA = CUDASettings(memory_limit=2**30, nhwc=True, cuda_graphs=(1,)).options()
TENSORRT = TensorRTSettings(workspace=2**30).options((2, 2, 3), Path("cache"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        # device_id is left out: its parser asks the driver if there is such a GPU.
        ("CUDASettings", {k: v for k, v in CUDA.items() if k != "device_id"}),
        ("TensorRTSettings", TENSORRT),
    ],
)
def test_every_option_is_one_that_onnxruntime_takes(kind, options, attempt):
    errors = attempt(kind, options)
    assert errors.keys() == options.keys()
    for option, error in errors.items():
        assert "refused" not in error and "CUDA failure " in error, (option, error)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("CUDASettings", {"use_tf33": "1"}),
        ("CUDASettings", {"use_tf32": "maybe"}),
        ("CUDASettings", {"cudnn_conv_algo_search": "FAST"}),
        ("CUDASettings", {"device_id": "7"}),
        ("TensorRTSettings", {"trt_engines": "1"}),
        ("TensorRTSettings", {"trt_engine_cache_enable": "1"}),
    ],
)
def test_a_refused_option_is_named_with_its_provider(kind, options, attempt):
    ((option, value),) = options.items()
    provider = kind.removesuffix("Settings").lower()
    expected = f"onnxruntime refused its option {option} = "
    error = attempt(kind, options)[option]
    assert f"Expected provider '{provider}' to load but {expected}'{value}': " in error


IMAGE, CONTENT = (224, 224, 3), b"an encoder"


def options(settings, content=CONTENT):
    """The options of the first provider."""
    return provider_options(settings, IMAGE, content)[0][1]


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
