"""Run an exported encoder with onnxruntime."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from rkdo_plugin.export.images import require_images
from rkdo_plugin.export.metadata import INPUT, OUTPUT, PREFIX, read_model
from rkdo_plugin.export.providers import (
    MAX_BATCH,
    NAMES,
    Provider,
    nvidia_driver_present,
    provider_options,
    require_provider,
    warn_about_two_runtimes,
)

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


class EmbeddingSession:
    """An exported encoder, loaded and ready.

    Args:
        path: A file written by `export_onnx`. Its weights are checked against the
            checksum recorded in it.
        provider: "cpu", "cuda" or "tensorrt": that one or an error. "auto": CUDA where
            it loads, else CPU; `provider` says which.

    Attributes:
        provider: "cpu", "cuda" or "tensorrt".
        metadata: The file's metadata; keys are prefixed `rkdo.`.
        image_size: Height and width of the images in pixels.
        any_size: Whether images of any other height and width will do too.
        channels: Channels of the images.
        dim: D, the number of components of an embedding.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: The provider that was asked for did not load.
        ValueError: The provider's name is unknown; or the file is not an encoder
            written by `export_onnx`, or is damaged.
    """

    def __init__(self, path: str | Path, provider: Provider = "auto") -> None:
        require_provider(provider)
        warn_about_two_runtimes()
        content, self.metadata = read_model(Path(path))
        self.image_size = int(self.metadata[PREFIX + "image_size"])
        self.any_size = self.metadata.get(PREFIX + "any_size") == "true"
        self.channels = int(self.metadata[PREFIX + "channels"])
        self.dim = int(self.metadata[PREFIX + "dim"])
        if provider == "auto":
            self._session, self.provider = self._open_best(content)
        else:
            self._session, self.provider = self._open(content, provider), provider

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Embed images.

        Args:
            images: uint8 (B, H, W, C), values 0 to 255; B may be 0. More than 256 run
                in several batches.

        Returns:
            Embeddings, float32 (B, D); of norm 1 if the encoder normalised.

        Raises:
            TypeError: The images are not uint8.
            ValueError: The images do not have the shape the encoder was exported for.
        """
        size = None if self.any_size else self.image_size
        require_images(images, size, self.channels)
        embeddings = np.empty((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), MAX_BATCH):
            batch = np.ascontiguousarray(images[start : start + MAX_BATCH])
            (found,) = self._session.run([OUTPUT], {INPUT: batch})
            embeddings[start : start + MAX_BATCH] = found
        return embeddings

    def _open_best(self, content: bytes) -> tuple[Any, str]:
        if nvidia_driver_present():
            try:
                return self._open(content, "cuda"), "cuda"
            except RuntimeError as error:  # a driver without CUDA's libraries
                warnings.warn(f"{error}; running on the CPU", stacklevel=3)
        return self._open(content, "cpu"), "cpu"

    def _open(self, content: bytes, provider: str) -> Any:
        options = onnxruntime.SessionOptions()
        if provider != "cpu":
            # CUDA's libraries may come from Python packages, off the loader's path.
            onnxruntime.preload_dlls()
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        choice = provider_options(
            provider,
            self.image_size,
            self.channels,
            self.metadata[PREFIX + "weights_sha256"],
        )
        try:
            session = onnxruntime.InferenceSession(
                content, options, providers=choice, enable_fallback=0
            )
        except RUNTIME_ERRORS as error:
            raise RuntimeError(
                f"Expected provider '{provider}' but it did not load: {error}"
            ) from error
        loaded = session.get_providers()[0]
        if loaded != NAMES[provider]:
            raise RuntimeError(
                f"Expected provider '{provider}' but onnxruntime loaded {loaded}"
            )
        return session
