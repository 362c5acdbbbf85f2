"""Find the shared libraries and packages that a GPU needs."""

import contextlib
import ctypes
import importlib
import io
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

import onnxruntime

RUNTIMES = ("onnxruntime", "onnxruntime-gpu")


def preload(provider: str) -> None:
    """Load the GPU libraries that were installed as Python packages.

    The system's loader does not look for libraries there.

    Args:
        provider: "cuda" or "tensorrt".
    """
    # torch loads the CUDA libraries that it was installed with; onnxruntime uses them.
    importlib.import_module("torch")
    # onnxruntime prints which ones it misses; `rkdo doctor` explains what that means.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    if provider == "tensorrt":
        # If NVIDIA's package is installed, importing it loads its libraries.
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt")


def library(linux: str, windows: str) -> ctypes.CDLL | None:
    """Load a shared library. Return None if it does not load."""
    try:
        return ctypes.CDLL(windows if sys.platform == "win32" else linux)
    except OSError:
        return None


def nvidia_driver() -> ctypes.CDLL | None:
    """Load the NVIDIA driver's library. Return None if it does not load.

    onnxruntime is no help here: it lists its CUDA provider on machines without a GPU,
    and writes complaints to stderr when the provider is tried there.
    """
    return library("libcuda.so.1", "nvcuda.dll")


def tensorrt_version() -> str | None:
    """Return the version of the TensorRT library for onnxruntime, such as 10.16.1."""
    nvinfer = library("libnvinfer.so.10", "nvinfer_10.dll")
    if nvinfer is None:
        return None
    number = nvinfer.getInferLibVersion()
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def runtimes_installed() -> dict[str, str]:
    """Return the version of each package that installs a folder `onnxruntime`."""
    found = {}
    for name in RUNTIMES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def warn_about_two_runtimes() -> None:
    """Warn if two packages have written to the same `onnxruntime` folder."""
    if len(runtimes_installed()) > 1:
        warnings.warn(
            "Expected one package of onnxruntime but both onnxruntime and "
            "onnxruntime-gpu are installed, and one overwrote files of the other; "
            "uninstall both, then install the one you need",
            stacklevel=3,
        )
