"""Open a session on the provider that was asked for, or raise an error."""

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from rkdo_plugin.export.runtime.amx import for_amx, has_amx
from rkdo_plugin.export.runtime.libraries import (
    nvidia_driver,
    preload,
    tensorrt_version,
)
from rkdo_plugin.export.runtime.saturation import require_exact_sums
from rkdo_plugin.export.runtime.settings import (
    CPUSettings,
    CUDASettings,
    Options,
    Settings,
    TensorRTSettings,
)

# onnxruntime's name of each provider.
NAMES: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

# What reads weights that lie beside a graph, in memory; onnxruntime 1.23 has none.
WEIGHTS_BESIDE = "add_external_initializers_from_files_in_memory"
# onnxruntime's errors have no common base class but Exception.
RUNTIME_ERRORS = (
    RuntimeError,
    runtime.EPFail,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.NotImplemented,
    runtime.RuntimeException,
)
# How onnxruntime names an option that its parsers for CUDA and TensorRT refuse.
REFUSED = re.compile(r"(?:option:? \"|EP option: |for the key ')(\w+)[\"':. ]*(.*)")
CUDA_FAILURE = re.compile(r"CUDA failure \d+: [^;]+")


class ProviderError(RuntimeError):
    """A provider did not load, refused an option, or captured no CUDA graph.

    No other provider was tried.

    Attributes:
        reason: Why it failed.
    """

    def __init__(self, provider: str, reason: str) -> None:
        super().__init__(
            f"Expected provider '{provider}' to load but {reason}; `rkdo doctor "
            f"--provider {provider}` says what is missing"
        )
        self.reason = reason


def open_session(
    content: bytes,
    settings: Settings,
    image: tuple[int, int, int],
    weights: tuple[str, bytes] | None = None,
) -> Any:
    """Load a graph on the provider that the settings are for, and on no other.

    Args:
        content: Bytes of the ONNX file.
        settings: Settings of a provider.
        image: (H, W, C) of the images.
        weights: Name and bytes of the file that holds a large graph's weights.

    Returns:
        onnxruntime's session.

    Raises:
        PermissionError: Other users may write to the folder that engines are read from.
        ProviderError: The provider did not load, or refused an option.
        RuntimeError: There are weights, and this onnxruntime is too old for them.
        ValueError: This CPU would compute the file wrong.
    """
    provider = settings.provider
    options = onnxruntime.SessionOptions()
    if isinstance(settings, CPUSettings):
        options.intra_op_num_threads = settings.threads or 0
        if not settings.optimize:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        else:
            require_exact_sums(content)
            if has_amx():
                content = for_amx(content)
    else:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        if nvidia_driver() is None:
            raise ProviderError(provider, "there is no NVIDIA driver")
        if NAMES[provider] not in onnxruntime.get_available_providers():
            raise ProviderError(provider, "this onnxruntime is built without it")
        preload(provider)
    if weights is not None:
        add = getattr(options, WEIGHTS_BESIDE, None)
        if add is None:
            raise RuntimeError(
                "Expected an onnxruntime newer than 1.23 for a model whose weights lie "
                f"beside it but got {onnxruntime.__version__}; Python 3.10 has no newer"
            )
        add([weights[0]], [weights[1]], [len(weights[1])])
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
    """Return providers with their options, in the order that onnxruntime tries them.

    The CPU never stands after a GPU provider. TensorRT's folder for engines is named by
    the model's checksum.
    """
    if isinstance(settings, CPUSettings):
        return [(NAMES["cpu"], {})]
    if isinstance(settings, CUDASettings):
        return [(NAMES["cuda"], settings.options())]
    cache = private_folder(_engine_folder(settings, content))
    options = settings.options(image, cache)
    if b"int8-tensorrt" in content:  # the precision in its metadata
        # The graph says which layers have 8 bits. Without this TensorRT refuses it.
        options["trt_int8_enable"] = "True"
    # CUDA runs the nodes that TensorRT does not support.
    return [(NAMES["tensorrt"], options), (NAMES["cuda"], settings.cuda().options())]


def _reason(error: Exception, choice: list[tuple[str, Options]]) -> str:
    """Extract from an error why onnxruntime opened no session, without C++ details."""
    message = str(error).strip()
    failure = CUDA_FAILURE.search(message)
    refused = REFUSED.search(message)
    if refused is None:
        return f"onnxruntime says: {failure[0].strip() if failure else message}"
    name, detail = refused[1], refused[2] or "it has no option of that name"
    value = next((options[name] for _, options in choice if name in options), "")
    return (
        f"onnxruntime refused its option {name} = '{value}': "
        + (failure[0] if failure else detail).strip()
    )


def private_folder(folder: Path) -> Path:
    """Create a folder that only its owner may write to.

    TensorRT runs the engines that it finds there, so a stranger could plant code.

    Raises:
        PermissionError: The folder exists, and somebody else owns it or may write to
            it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if os.name == "posix" and (found.st_mode & 0o022 or found.st_uid != os.getuid()):
        raise PermissionError(
            f"Expected a folder that only its owner may write to but got {folder}; "
            "TensorRT runs the engines that it finds there"
        )
    return folder


def _engine_folder(settings: TensorRTSettings, content: bytes) -> Path:
    import torch

    gpu = "no-gpu"
    if torch.cuda.is_available():
        gpu = re.sub(r"[^\w.-]+", "-", torch.cuda.get_device_name(settings.device))
    versions = f"ort{onnxruntime.__version__}-trt{tensorrt_version()}"
    return settings.cache / f"{sha256(content).hexdigest()[:16]}-{versions}-{gpu}"
