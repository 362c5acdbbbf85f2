"""onnxruntime's own parsers read our options, on a driver that drives nothing.

The libraries of the CUDA and TensorRT providers load when the libraries they are linked
with do. Empty ones let them get as far as a GPU: past the parsing of the options.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rkdo_plugin.export import CUDASettings, TensorRTSettings

STUBS = {
    "libcuda.so.1": """
        int cuTensorMapEncodeTiled(void) { return 999; }
        int cuInit(unsigned flags) { return 100; }
        int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
    """,
    "libnvonnxparser.so.10": """
        void *createNvOnnxParser_INTERNAL(void) { return 0; }
        void *createNvOnnxParserRefitter_INTERNAL(void) { return 0; }
    """,
    "libnvinfer.so.10": """
        static void *nothing(void) { return 0; }
        static void *methods[64];
        static void **registry = methods;
        int getInferLibVersion(void) { return 101601; }
        void *createInferBuilder_INTERNAL(void) { return 0; }
        void *createInferRefitter_INTERNAL(void) { return 0; }
        void *createInferRuntime_INTERNAL(void) { return 0; }
        void *getPluginRegistry(void) {
            for (int i = 0; i < 64; i++) methods[i] = (void *)nothing;
            return &registry;
        }
    """,
}

# Prints a line for each of OPTIONS, tried alone: what became of it.
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


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    folder = tmp_path_factory.mktemp("stubs")
    for name, source in STUBS.items():
        (folder / "stub.c").write_text(source)
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name]
        subprocess.run([*command, "stub.c"], cwd=folder, check=True)
    return folder


@pytest.fixture
def attempt(stubs, tmp_path):
    """What onnxruntime says of each option alone."""

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
        # The parser of the number asks the driver whether there is such a GPU.
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
    expected = f"Expected provider '{provider}' but onnxruntime refused its option "
    assert f"{expected}{option} = '{value}': " in attempt(kind, options)[option]


def test_a_driver_without_a_gpu_is_reported_as_what_it_is(stubs, tmp_path):
    command = [
        sys.executable,
        "-m",
        "rkdo_plugin.cli.main",
        "doctor",
        "--provider",
        "cuda",
    ]
    environment = os.environ | {"LD_LIBRARY_PATH": str(stubs)}
    child = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert child.returncode == 1
    for found in ("supports CUDA 13.0", "TensorRT         10.16.1", "loads, and yet"):
        assert found in child.stdout
    assert child.stdout.count("CUDA failure ") == 3  # two trials and the advice
    assert child.stderr == "rkdo: Expected provider 'cuda' to load but it does not\n"
