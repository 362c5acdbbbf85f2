"""The doctor names what is missing, and what to do next."""

import os
import re
import subprocess
import sys

import onnxruntime
import pytest

from rkdo_plugin.cli.main import main
from rkdo_plugin.export import examine
from rkdo_plugin.export.runtime import doctor, libraries
from rkdo_plugin.export.runtime.doctor import CUDA_LIBRARIES, TENSORRT_LIBRARIES


class Driver:
    """Stands for the NVIDIA driver's library."""

    def __init__(self, version):
        self.version = version

    def cuDriverGetVersion(self, pointer):  # noqa: N802 - NVIDIA's name
        pointer._obj.value = self.version


@pytest.fixture
def machine(monkeypatch):
    """A machine with a GPU where everything is fine, except what the test says."""

    def make(
        *,
        driver=13010,
        missing=(),
        fails=(),
        runtimes=("onnxruntime-gpu",),
        cuda="13.0",
        gpu_fault=None,
    ):
        def library(linux, windows):
            if linux == "libcuda.so.1":
                return Driver(driver) if driver else None
            return None if linux in missing else "a library"

        def version(name):
            if name not in runtimes:
                raise libraries.PackageNotFoundError(name)
            return "1.31.1"

        fake = {
            (libraries, "library"): library,
            (libraries, "version"): version,
            (libraries, "preload"): lambda _: None,
            (libraries, "tensorrt_version"): lambda: "10.16.1",
            (doctor, "trial"): lambda name: "it broke" if name in fails else None,
            (doctor, "cuda_fault"): lambda: gpu_fault,
        }
        for (module, name), value in fake.items():
            monkeypatch.setattr(module, name, value)
        monkeypatch.setattr(onnxruntime, "cuda_version", cuda)

    return make


@pytest.mark.parametrize("provider", ["auto", "cpu", "cuda", "tensorrt"])
def test_a_machine_where_all_is_well_needs_nothing(machine, provider):
    machine()
    diagnosis = examine(provider)
    assert diagnosis.healthy and diagnosis.advice == ()
    assert str(diagnosis).splitlines() == [
        "found:",
        "  onnxruntime      onnxruntime-gpu 1.31.1, built for CUDA 13.0",
        f"  PyTorch          {diagnosis.torch}",
        "  NVIDIA driver    supports CUDA 13.1",
        "  CUDA libraries   found",
        "  TensorRT         10.16.1",
        "  GPU tests        `pytest -m gpu` in a checkout runs them",
        "providers:",
        "  cpu              loads",
        "  cuda             loads",
        "  tensorrt         loads",
    ]


CUBLAS, NVINFER = CUDA_LIBRARIES[2][0].format(cuda=13), TENSORRT_LIBRARIES[0][0]


@pytest.mark.parametrize(
    ("provider", "found", "message"),
    [
        ("cuda", {"driver": 0}, "no NVIDIA driver: install it .* docker run --gpus"),
        ("cuda", {"driver": 12080}, "supports CUDA 12.8 but .* needs CUDA 13: update"),
        ("cuda", {"cuda": ""}, "without CUDA: pip uninstall onnxruntime, then pip"),
        ("cuda", {"missing": [CUBLAS]}, r"are missing: pip install 'rkdo-plugin\[cud"),
        ("tensorrt", {"missing": [CUBLAS]}, r"pip install 'rkdo-plugin\[cuda\]'"),
        ("tensorrt", {"missing": [NVINFER]}, "nvinfer.so.10: .*'tensorrt-cu13<11'"),
        (
            "tensorrt",
            {"missing": []},
            "every library loads but tensorrt does not run: it broke",
        ),
        ("cpu", {}, "onnxruntime itself does not work: reinstall it"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(machine, provider, found, message):
    machine(fails=[provider], **found)
    diagnosis = examine(provider)
    (step,) = diagnosis.advice
    assert not diagnosis.healthy
    assert re.search(message, step)
    assert f"  {provider:16} no: it broke" in str(diagnosis)
    assert str(diagnosis).endswith(f"1. {step}")


def test_missing_libraries_are_listed(machine):
    machine(missing=[CUBLAS], fails=["cuda", "tensorrt"])
    assert "  CUDA libraries   missing: libcublas.so.13\n" in str(examine("cuda"))


def test_why_gpu_tests_would_be_skipped(machine):
    machine(gpu_fault="the driver is too old")
    line = "  GPU tests        `pytest -m gpu` in a checkout skips them: the driver is"
    assert f"\n{line} too old\n" in str(examine("auto"))


def test_two_distributions_are_the_first_thing_to_repair(machine):
    machine(runtimes=("onnxruntime", "onnxruntime-gpu"), driver=0, fails=["cuda"])
    first, second = examine("cuda").advice
    assert first.startswith("onnxruntime and onnxruntime-gpu overwrote files of each")
    assert "pip uninstall onnxruntime onnxruntime-gpu, then" in first
    assert second.startswith("there is no NVIDIA driver")


def test_auto_is_content_with_the_cpu_and_says_what_a_gpu_needs(machine):
    machine(driver=0, fails=["cuda", "tensorrt"])
    diagnosis = examine("auto")
    assert diagnosis.healthy
    (step,) = diagnosis.advice
    assert step.startswith("auto runs on the CPU; for a GPU: there is no NVIDIA driver")


def test_an_unknown_provider():
    with pytest.raises(ValueError, match="auto, cpu, cuda, tensorrt but got 'rocm'"):
        examine("rocm")


def test_the_status_is_whether_what_was_asked_for_loads(machine, capsys):
    machine(fails=["tensorrt"])
    assert main(["doctor"]) == main(["doctor", "--provider", "cuda"]) == 0
    assert main(["doctor", "--provider", "tensorrt"]) == 1
    printed = capsys.readouterr()
    assert printed.out.count("providers:") == 3
    assert printed.err == "rkdo: Expected provider 'tensorrt' to load but it does not\n"


def test_a_driver_without_a_gpu_is_reported_as_what_it_is(stubs, tmp_path):
    if missing := examine().missing:
        pytest.skip(f"{missing} are not installed")  # torch 2.15 brings no cuRAND
    command = [
        sys.executable,
        "-m",
        "rkdo_plugin.cli",
        "doctor",
        "--provider",
        "cuda",
    ]
    environment = os.environ | {"LD_LIBRARY_PATH": str(stubs)}
    child = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert child.returncode == 1
    for found in (
        "supports CUDA 13.0",
        "TensorRT         10.16.1",
        "library loads but",
    ):
        assert found in child.stdout
    assert child.stdout.count("CUDA failure ") == 3  # two trials and the advice
    assert child.stderr == "rkdo: Expected provider 'cuda' to load but it does not\n"
