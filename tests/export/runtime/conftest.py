"""Libraries of CUDA and TensorRT that load, and do nothing."""

import shutil
import subprocess
import sys

import onnxruntime
import pytest

from rkdo_plugin.export import TensorRTSettings

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


@pytest.fixture(scope="module")
def stubs(tmp_path_factory):
    """A folder with empty libraries.

    onnxruntime's CUDA and TensorRT providers load if the libraries do that they are
    linked with. Empty ones let them get past the parsing of options, as far as a GPU.
    """
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    folder = tmp_path_factory.mktemp("stubs")
    for name, source in STUBS.items():
        (folder / "stub.c").write_text(source)
        command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", name]
        subprocess.run([*command, "stub.c"], cwd=folder, check=True)
    return folder


@pytest.fixture
def tensorrt(tmp_path):
    return TensorRTSettings(cache=tmp_path)
