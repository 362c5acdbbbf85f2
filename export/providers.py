"""Which device a session runs on: the one asked for, or an error."""

import ctypes
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import onnxruntime
import torch

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]
Options = dict[str, str]

NAMES: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
MAX_BATCH = 256  # images a run; TensorRT rebuilds its engine for a larger one
TENSORRT_CACHE = Path.home() / ".cache" / "rkdo" / "tensorrt"


def require_provider(provider: str) -> None:
    """Refuse a provider name that does not exist.

    Raises:
        ValueError: The name is unknown.
    """
    known = ("auto", *NAMES)
    if provider not in known:
        raise ValueError(
            f"Expected `provider` to be one of {', '.join(known)} but got '{provider}'"
        )


def nvidia_driver_present() -> bool:
    """Whether the NVIDIA driver's library loads.

    onnxruntime lists its CUDA provider on machines without any GPU, and complains on
    stderr when it is tried there.
    """
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def provider_options(
    provider: str, image_size: int, channels: int, weights_sha256: str
) -> list[tuple[str, Options]]:
    """Providers with their options, in the order in which onnxruntime tries them.

    Args:
        provider: "cpu", "cuda" or "tensorrt".
        image_size: Height and width of the images in pixels.
        channels: Channels of the images.
        weights_sha256: Names the folder that TensorRT keeps its engines in.

    Returns:
        (name, options) for each provider. CPU is never a second choice.
    """
    if provider == "cpu":
        return [(NAMES["cpu"], {})]
    cuda = (NAMES["cuda"], _CUDA)
    if provider == "cuda":
        return [cuda]
    cache = TENSORRT_CACHE / "-".join(
        (
            weights_sha256[:16],
            f"ort{onnxruntime.__version__}",
            f"trt{_version_of('tensorrt')}",
            _gpu_name(),
        )
    )
    image = f"{image_size}x{image_size}x{channels}"
    tensorrt = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
        "trt_profile_min_shapes": f"image:1x{image}",
        "trt_profile_opt_shapes": f"image:32x{image}",
        "trt_profile_max_shapes": f"image:{MAX_BATCH}x{image}",
    }
    # Nodes that TensorRT does not know run on CUDA.
    return [(NAMES["tensorrt"], tensorrt), cuda]


_CUDA: Options = {
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
    "do_copy_in_default_stream": "1",
    "use_tf32": "0",  # TF32 is faster and fails the parity gate
}


def _gpu_name() -> str:
    if not torch.cuda.is_available():
        return "no-gpu"
    return torch.cuda.get_device_name().replace(" ", "-").replace("/", "-")


def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "-system"


def warn_about_two_runtimes() -> None:
    """Warn when two distributions have written to the same `onnxruntime` folder."""
    found = {
        name: version_
        for name in ("onnxruntime", "onnxruntime-gpu")
        if (version_ := _version_of(name)) != "-system"
    }
    if len(found) > 1:
        warnings.warn(
            "both onnxruntime and onnxruntime-gpu are installed, and one overwrote "
            "files of the other: uninstall both, then install the one you need",
            stacklevel=3,
        )
