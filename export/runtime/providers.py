"""Which device a session runs on: the one asked for, or an error."""

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from rkdo_plugin.export.runtime.amx import for_amx, has_amx
from rkdo_plugin.export.runtime.libraries import (
    nvidia_driver,
    preload,
    tensorrt_version,
)
from rkdo_plugin.export.runtime.settings import (
    CPUSettings,
    CUDASettings,
    Options,
    Settings,
    TensorRTSettings,
)

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]

NAMES: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

# onnxruntime's errors have no common base class below Exception.
RUNTIME_ERRORS = (
    RuntimeError,
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.NotImplemented,
    runtime.RuntimeException,
)
# How CUDA's and TensorRT's parsers in onnxruntime name an option they refuse.
REFUSED = re.compile(r"(?:option:? \"|EP option: |for the key ')(\w+)[\"':. ]*(.*)")
CUDA_FAILURE = re.compile(r"CUDA failure \d+: [^;]+")


class ProviderError(RuntimeError):
    """A provider did not load, refused an option, or captured no CUDA graph.

    No other was tried.

    Attributes:
        reason: Why.
    """

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(
            f"Expected provider '{provider}' but {reason}; `rkdo doctor --provider "
            f"{provider}` says what is missing"
        )
        self.reason = reason


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


def open_session(
    content: bytes,
    settings: Settings,
    image: tuple[int, int, int],
    weights: tuple[str, bytes] | None = None,
) -> Any:
    """Load a graph on the provider that the settings are of, and on no other.

    Args:
        content: The ONNX file.
        settings: Say which provider.
        image: (H, W, C) of the images.
        weights: Name and content of the file of a large graph's weights.

    Returns:
        onnxruntime's session.

    Raises:
        PermissionError: Others may write to the folder that engines are read from.
        ProviderError: The provider did not load, or refused an option.
    """
    provider = settings.provider
    options = onnxruntime.SessionOptions()
    if isinstance(settings, CPUSettings):
        options.intra_op_num_threads = settings.threads or 0
        if not settings.optimize:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        elif has_amx():
            content = for_amx(content)
    else:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if nvidia_driver() is None:
            raise ProviderError(provider, "there is no NVIDIA driver")
        preload(provider)
    if weights is not None:
        options.add_external_initializers_from_files_in_memory(
            [weights[0]], [weights[1]], [len(weights[1])]
        )
    choice = provider_options(settings, image, content)
    try:
        session = onnxruntime.InferenceSession(
            content, options, providers=choice, enable_fallback=0
        )
    except (ValueError, *RUNTIME_ERRORS) as error:
        raise ProviderError(provider, _reason(error, choice)) from error
    loaded = session.get_providers()[0]
    if loaded != NAMES[provider]:
        raise ProviderError(provider, f"onnxruntime loaded {loaded}")
    return session


def provider_options(
    settings: Settings, image: tuple[int, int, int], content: bytes
) -> list[tuple[str, Options]]:
    """Providers with their options, in the order in which onnxruntime tries them.

    CPU is never a second choice. TensorRT keeps a model's engines by its checksum.
    """
    if isinstance(settings, CPUSettings):
        return [(NAMES["cpu"], {})]
    if isinstance(settings, CUDASettings):
        return [(NAMES["cuda"], settings.options())]
    cache = private_folder(_engine_folder(settings, content))
    # Nodes that TensorRT does not know run on CUDA.
    return [
        (NAMES["tensorrt"], settings.options(image, cache)),
        (NAMES["cuda"], settings.cuda().options()),
    ]


def _reason(error: Exception, choice: list[tuple[str, Options]]) -> str:
    """Why onnxruntime opened no session, without the C++ around it."""
    message = str(error).strip()
    failure = CUDA_FAILURE.search(message)
    refused = REFUSED.search(message)
    if refused is None:
        return f"it did not load: {failure[0].strip() if failure else message}"
    name, detail = refused[1], refused[2] or "there is none of that name"
    value = next((options[name] for _, options in choice if name in options), "")
    return (
        f"onnxruntime refused its option {name} = '{value}': "
        + (failure[0] if failure else detail).strip()
    )


def private_folder(folder: Path) -> Path:
    """Create a folder that only its owner writes to: an engine is code that is run.

    Raises:
        PermissionError: The folder is there, and others own it or may write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if os.name == "posix" and (found.st_mode & 0o022 or found.st_uid != os.getuid()):
        raise PermissionError(
            f"Expected a folder that only its owner may write to but got {folder}: "
            "TensorRT runs what it finds there"
        )
    return folder


def _engine_folder(settings: TensorRTSettings, content: bytes) -> Path:
    gpu = "no-gpu"
    if torch.cuda.is_available():
        gpu = re.sub(r"[^\w.-]+", "-", torch.cuda.get_device_name(settings.device))
    versions = f"ort{onnxruntime.__version__}-trt{tensorrt_version()}"
    return settings.cache / f"{sha256(content).hexdigest()[:16]}-{versions}-{gpu}"
