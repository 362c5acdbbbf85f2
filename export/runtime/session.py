"""Run an exported encoder with onnxruntime."""

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rkdo_plugin.export.encoder.images import require_images
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT, PREFIX
from rkdo_plugin.export.file.model_file import ModelFile, read_model
from rkdo_plugin.export.runtime.cuda_graphs import CapturedRuns
from rkdo_plugin.export.runtime.dlpack import (
    SupportsDLPack,
    require_at_hand,
    run_in_place,
)
from rkdo_plugin.export.runtime.libraries import nvidia_driver, warn_about_two_runtimes
from rkdo_plugin.export.runtime.providers import (
    RUNTIME_ERRORS,
    Provider,
    ProviderError,
    open_session,
    require_provider,
)
from rkdo_plugin.export.runtime.settings import (
    MAX_BATCH,
    CPUSettings,
    CUDASettings,
    Settings,
    TensorRTSettings,
    settings_of,
)


class EmbeddingSession:
    """An exported encoder, loaded and ready.

    Args:
        path: A file written by `export_onnx`, or one that was read already. It is
            checked against its own checksum and its manifest.
        provider: "cpu", "cuda" or "tensorrt": that one or an error. "auto": CUDA where
            it loads, else CPU; `provider` says which.
        settings: `CPUSettings`, `CUDASettings` or `TensorRTSettings`, as the provider;
            its defaults where none are passed. "auto" takes none.

    Attributes:
        name: The file's name.
        provider: "cpu", "cuda" or "tensorrt".
        device: Where it computes, as torch names it: "cpu" or "cuda:0".
        metadata: The file's metadata; keys are prefixed `rkdo.`.
        image_size: Height and width of the images in pixels.
        any_size: Whether images of any other height and width will do too.
        channels: Channels of the images.
        dim: D, the number of components of an embedding.
        normalize: Whether embeddings are of norm 1.

    Raises:
        FileNotFoundError: There is no such file.
        ProviderError: The provider that was asked for did not load, refused an option,
            or captured no CUDA graph: a RuntimeError.
        TypeError: The settings are those of another provider.
        ValueError: The provider's name is unknown; the file is not an encoder written
            by `export_onnx`, or is damaged; or TensorRT or a CUDA graph is asked to
            take any size.
    """

    def __init__(
        self,
        path: str | Path | ModelFile,
        provider: Provider = "auto",
        settings: Settings | None = None,
    ) -> None:
        require_provider(provider)
        if provider == "auto" and settings is not None:
            raise TypeError(
                f"Expected provider '{settings.provider}' beside "
                f"{type(settings).__name__} but got 'auto'"
            )
        warn_about_two_runtimes()
        model = path if isinstance(path, ModelFile) else read_model(Path(path))
        self.name, self.metadata = model.name, model.metadata
        self.image_size = int(self.metadata[PREFIX + "image_size"])
        self.any_size = self.metadata[PREFIX + "any_size"] == "true"
        self.channels = int(self.metadata[PREFIX + "channels"])
        self.dim = int(self.metadata[PREFIX + "dim"])
        self.normalize = self.metadata[PREFIX + "normalize"] == "true"
        graphs = settings.cuda_graphs if isinstance(settings, CUDASettings) else ()
        if self.any_size and (provider == "tensorrt" or graphs):
            raise ValueError(
                "Expected images of one size for TensorRT's engines and CUDA's graphs, "
                f"each of which is for one, but {self.name} takes any: export it for "
                "one, or choose 'cuda' without graphs"
            )
        if provider == "auto":
            self._session, settings = self._open_best(model)
        else:
            settings = settings_of(provider, settings)
            self._session = self._open(model, settings)
        self.provider = settings.provider
        self.device = (
            "cpu" if isinstance(settings, CPUSettings) else f"cuda:{settings.device}"
        )
        self._max_batch = max(graphs, default=MAX_BATCH)
        if isinstance(settings, TensorRTSettings):
            self._max_batch = settings.max_batch
        self._captured = self._capture(graphs) if graphs else None

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
        require_images(images, self.fixed_size, self.channels)
        embeddings = np.empty((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), self._max_batch):
            part = slice(start, start + self._max_batch)
            if self._captured is None:
                batch = np.ascontiguousarray(images[part])
                (embeddings[part],) = self._session.run([OUTPUT], {INPUT: batch})
            else:
                batch = np.require(images[part], requirements=["C", "W"])  # torch's
                self._captured.embed(
                    torch.from_numpy(batch), torch.from_numpy(embeddings[part])
                )
        return embeddings

    def embed_tensor(self, images: SupportsDLPack) -> Tensor:
        """Embed images where they are: they and the embeddings are not copied.

        CUDA graphs are the exception: one reads and writes in memory of its own, on
        the same device.

        Args:
            images: uint8 (B, H, W, C) in one block of memory on `device`, in anything
                that speaks DLPack: a tensor of torch, an array of CuPy or JAX.

        Returns:
            Embeddings, a tensor float32 (B, D) on the same device.

        Raises:
            TypeError: The images are not uint8, or do not speak DLPack.
            ValueError: The images do not have the shape the encoder was exported for,
                are on another device, or are not contiguous.

        Example:
            >>> session = EmbeddingSession("encoder.onnx", "cuda")  # doctest: +SKIP
            >>> session.embed_tensor(frames).device  # doctest: +SKIP
            device(type='cuda', index=0)
        """
        tensor = require_at_hand(images, self.device)
        require_images(tensor, self.fixed_size, self.channels)
        # Whatever torch's default is: onnxruntime writes float32.
        embeddings = torch.empty(
            len(tensor), self.dim, dtype=torch.float32, device=self.device
        )
        for start in range(0, len(tensor), self._max_batch):
            part = slice(start, start + self._max_batch)
            if self._captured is None:
                run_in_place(self._session, tensor[part], embeddings[part])
            else:
                self._captured.embed(tensor[part], embeddings[part])
        return embeddings

    @property
    def fixed_size(self) -> int | None:
        """Height and width that images must have; None where any will do."""
        return None if self.any_size else self.image_size

    def _open_best(self, model: ModelFile) -> tuple[Any, Settings]:
        if nvidia_driver() is not None:
            try:
                settings = settings_of("cuda", None)
                return self._open(model, settings), settings
            except ProviderError as error:  # a driver without CUDA's libraries
                warnings.warn(f"{error}; running on the CPU", stacklevel=3)
        settings = settings_of("cpu", None)
        return self._open(model, settings), settings

    def _capture(self, batches: Collection[int]) -> CapturedRuns:
        if not torch.cuda.is_available():
            raise ProviderError(
                "cuda", "torch finds no GPU to hold CUDA graphs' images"
            )
        try:
            return CapturedRuns(
                self._session, batches, self._image, self.dim, self.device
            )
        except RUNTIME_ERRORS as error:
            raise ProviderError("cuda", f"CUDA graphs failed: {error}") from error

    def _open(self, model: ModelFile, settings: Settings) -> Any:
        return open_session(model.content, settings, self._image, model.weights)

    @property
    def _image(self) -> tuple[int, int, int]:
        return self.image_size, self.image_size, self.channels
