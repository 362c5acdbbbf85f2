"""The shared libraries and packages that a GPU needs, as this process finds them."""

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
    """Load the libraries that came as Python packages, off the loader's path."""
    # It prints what it misses; what that means is said by `rkdo doctor`.
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    if provider == "tensorrt":
        # Importing NVIDIA's package, where there is one, loads its libraries.
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt")


def library(linux: str, windows: str) -> ctypes.CDLL | None:
    """A shared library, or None where it does not load."""
    try:
        return ctypes.CDLL(windows if sys.platform == "win32" else linux)
    except OSError:
        return None


def nvidia_driver() -> ctypes.CDLL | None:
    """The NVIDIA driver's library.

    onnxruntime lists its CUDA provider on machines without any GPU, and complains on
    stderr when it is tried there.
    """
    return library("libcuda.so.1", "nvcuda.dll")


def tensorrt_version() -> str | None:
    """The version of the TensorRT library that onnxruntime would use, as 10.16.1."""
    nvinfer = library("libnvinfer.so.10", "nvinfer_10.dll")
    if nvinfer is None:
        return None
    number = nvinfer.getInferLibVersion()
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def runtimes_installed() -> dict[str, str]:
    """Version of each distribution that writes to the folder `onnxruntime`."""
    found = {}
    for name in RUNTIMES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def warn_about_two_runtimes() -> None:
    """Warn when two distributions have written to the same `onnxruntime` folder."""
    if len(runtimes_installed()) > 1:
        warnings.warn(
            "both onnxruntime and onnxruntime-gpu are installed, and one overwrote "
            "files of the other: uninstall both, then install the one you need",
            stacklevel=3,
        )
