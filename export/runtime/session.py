"""Run an exported encoder with onnxruntime."""

import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rkdo_plugin.export.encoder.image_size import ImageSize, parse_image_size, sides
from rkdo_plugin.export.encoder.images import MAX_BATCH, require_images
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import (
    INPUT,
    OUTPUT,
    PREFIX,
    count_of,
    flag_of,
)
from rkdo_plugin.export.file.model_file import ModelFile, read_model
from rkdo_plugin.export.runtime.libraries import nvidia_driver, warn_about_two_runtimes
from rkdo_plugin.export.runtime.memory import give_back
from rkdo_plugin.export.runtime.providers import (
    RUNTIME_ERRORS,
    ProviderError,
    open_session,
)
from rkdo_plugin.export.runtime.settings import (
    CPUSettings,
    CUDASettings,
    Provider,
    Settings,
    TensorRTSettings,
    settings_of,
)

# On a CPU nothing here needs torch, which takes seconds and half a gigabyte to import.
if TYPE_CHECKING:
    from torch import Tensor

    from rkdo_plugin.export.runtime.cuda_graphs import CapturedRuns
    from rkdo_plugin.export.runtime.dlpack import SupportsDLPack


class EmbeddingSession:
    """An exported encoder, loaded and ready.

    Args:
        path: A file that `export_onnx` wrote, or one that was read already. It is
            checked against its own checksum and its manifest.
        provider: The provider that computes. "cpu", "cuda" or "tensorrt": this provider
            with its default settings. `CPUSettings(...)`, `CUDASettings(...)` or
            `TensorRTSettings(...)`: the provider that they are for. If it does not
            load, that is an error. "auto": CUDA if it loads, otherwise the CPU; the
            attribute `provider` says which.
        threads: Number of threads that one batch may use on a CPU; by default one for
            each core. It changes nothing on a GPU.

    Attributes:
        name: The file's name.
        provider: "cpu", "cuda" or "tensorrt".
        threads: Number of threads that one batch may use on a CPU, if it was given.
        device: Where it computes, as torch names it: "cpu" or "cuda:0".
        metadata: The file's metadata. Its keys start with `rkdo.`.
        image_size: Height and width in pixels that pictures are resized to: one
            integer, or (H, W) where they differ.
        any_size: Whether images may have any other height and width, too.
        channels: Channels of the images.
        dim: D, the number of components of an embedding.
        normalize: Whether embeddings have norm 1.

    Raises:
        FileNotFoundError: There is no such file.
        ProviderError: The provider that you asked for did not load, refused an option,
            or captured no CUDA graph. It is a RuntimeError.
        TypeError: `provider` is neither a name nor settings.
        ValueError: The provider's name is unknown; the file is damaged, or is not an
            encoder that `export_onnx` wrote; TensorRT or a CUDA graph is asked to
            accept images of any size; or an int8 file was made for CPUs with VNNI, and
            this CPU has none.
    """

    def __init__(
        self,
        path: str | Path | ModelFile,
        provider: Provider | Settings = "auto",
        *,
        threads: int | None = None,
    ) -> None:
        cpu = CPUSettings(threads)
        settings = None if provider == "auto" else settings_of(provider)
        if provider == "cpu":
            settings = cpu
        elif threads is not None and not isinstance(provider, str):
            raise ValueError(
                f"Expected `threads` in the settings but got {threads} beside them"
            )
        warn_about_two_runtimes()
        model = path if isinstance(path, ModelFile) else read_model(Path(path))
        self.name, self.metadata = model.name, model.metadata
        self.image_size = parse_image_size(self.metadata[PREFIX + "image_size"])
        self.any_size = flag_of(self.metadata, "any_size", self.name)
        self.channels = count_of(self.metadata, "channels", self.name)
        self.dim = count_of(self.metadata, "dim", self.name)
        self.normalize = flag_of(self.metadata, "normalize", self.name)
        graphs = settings.cuda_graphs if isinstance(settings, CUDASettings) else ()
        if self.any_size and (isinstance(settings, TensorRTSettings) or graphs):
            raise ValueError(
                "Expected an encoder for images of one size, which TensorRT's engines "
                f"and CUDA graphs need, but {self.name} takes any size; export it for "
                "one size, or choose 'cuda' without graphs"
            )
        if settings is None:
            self._session, settings = self._open_best(model, cpu)
        else:
            self._session = self._open(model, settings)
        self._require_own_graph()
        self.provider = settings.provider
        self.threads = settings.threads if isinstance(settings, CPUSettings) else None
        self.device = (
            "cpu" if isinstance(settings, CPUSettings) else f"cuda:{settings.device}"
        )
        self._max_batch = max(graphs, default=MAX_BATCH)
        if isinstance(settings, TensorRTSettings):
            self._max_batch = settings.max_batch
        self._captured = self._capture(graphs) if graphs else None
        give_back()

    def embed(self, images: UInt8Array) -> npt.NDArray[np.float32]:
        """Embed a numpy array of images.

        Args:
            images: uint8 (B, H, W, C), values 0 to 255. B may be 0. More than 256
                images run in several batches.

        Returns:
            Embeddings, float32 (B, D), of norm 1 if the encoder normalised.

        Raises:
            TypeError: The images are not uint8.
            ValueError: The images do not have the shape that the encoder was exported
                for.
        """
        require_images(images, self.fixed_size, self.channels)
        embeddings = np.empty((len(images), self.dim), dtype=np.float32)
        for start in range(0, len(images), self._max_batch):
            part = slice(start, start + self._max_batch)
            if self._captured is None:
                batch = np.ascontiguousarray(images[part])
                (embeddings[part],) = self._session.run([OUTPUT], {INPUT: batch})
            else:
                import torch

                # torch reads contiguous arrays, and warns about read-only ones.
                batch = np.require(images[part], requirements=["C", "W"])
                self._captured.embed(
                    torch.from_numpy(batch), torch.from_numpy(embeddings[part])
                )
        return embeddings

    def embed_files(
        self,
        paths: Iterable[str | Path],
        *,
        batch_size: int = 8,
        workers: int = 0,
    ) -> Iterator[tuple[Path, npt.NDArray[np.float32] | OSError]]:
        """Embed image files, a batch of them at a time.

        Args:
            paths: The files, in any order and number.
            batch_size: Number of images that run at once.
            workers: Number of processes that decode images. With 0 this one does.

        Yields:
            The paths in their order, with an embedding, float32 (D,), or an OSError
            that says why the file could not be read.

        Raises:
            RuntimeError: A process that decodes images was killed.
            ValueError: A number is out of range.

        Example:
            >>> session = EmbeddingSession("encoder.onnx")  # doctest: +SKIP
            >>> for path, found in session.embed_files(paths):  # doctest: +SKIP
            ...     print(path, found if isinstance(found, OSError) else found.shape)
        """
        from rkdo_plugin.export.reading.decoding import Decoder
        from rkdo_plugin.export.reading.item import Item

        items = (Item(str(path), Path(path)) for path in paths)
        with Decoder(self.image_size, self.channels, workers, batch_size) as decoder:
            for chunk, embeddings, reasons in decoder.map(items, self.embed):
                vectors = iter(embeddings)
                for item, reason in zip(chunk, reasons, strict=True):
                    found = next(vectors) if reason is None else OSError(reason)
                    yield Path(item.key), found

    def embed_tensor(self, images: "SupportsDLPack") -> "Tensor":
        """Embed images on their device, without copying them or the embeddings.

        CUDA graphs are an exception: each reads and writes memory of its own on the
        same device, so images and embeddings are copied.

        Args:
            images: uint8 (B, H, W, C) in one block of memory on `device`, in any object
                with `__dlpack__`: a tensor of torch, an array of CuPy or JAX.

        Returns:
            Embeddings, a tensor float32 (B, D) on the same device.

        Raises:
            TypeError: The images are not uint8, or have no `__dlpack__`.
            ValueError: The images do not have the shape that the encoder was exported
                for, are on another device, or are not contiguous.

        Example:
            >>> session = EmbeddingSession("encoder.onnx", "cuda")  # doctest: +SKIP
            >>> session.embed_tensor(frames).device  # doctest: +SKIP
            device(type='cuda', index=0)
        """
        import torch

        from rkdo_plugin.export.runtime.dlpack import require_at_hand, run_in_place

        tensor = require_at_hand(images, self.device)
        require_images(tensor, self.fixed_size, self.channels)
        # The type is named, as torch's default may differ: onnxruntime writes float32.
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
    def fixed_size(self) -> ImageSize | None:
        """Height and width that images must have. None if they may have any."""
        return None if self.any_size else self.image_size

    def _require_own_graph(self) -> None:
        """Refuse a graph of other tensors than the metadata tells of.

        Their shapes are what arrays and memory on a GPU are made by.
        """
        size: tuple[Any, ...] = (None, None) if self.any_size else self._image[:2]
        told = [
            (INPUT, "tensor(uint8)", [None, *size, self.channels]),
            (OUTPUT, "tensor(float)", [None, self.dim]),
        ]
        found: Any = "names that are no UTF-8"
        with suppress(UnicodeDecodeError):
            found = [
                (has.name, has.type, [n if type(n) is int else None for n in has.shape])
                for has in (*self._session.get_inputs(), *self._session.get_outputs())
            ]
        if found != told:
            raise ValueError(
                f"Expected a graph of {told} in {self.name} but got {found}"
            )

    def _open_best(self, model: ModelFile, cpu: CPUSettings) -> tuple[Any, Settings]:
        if nvidia_driver() is not None:
            try:
                settings = settings_of("cuda")
                return self._open(model, settings), settings
            except ProviderError as error:  # a driver without CUDA's libraries
                warnings.warn(f"{error}; running on the CPU", stacklevel=3)
        return self._open(model, cpu), cpu

    def _capture(self, batches: Collection[int]) -> "CapturedRuns":
        import torch

        from rkdo_plugin.export.runtime.cuda_graphs import CapturedRuns

        if not torch.cuda.is_available():
            raise ProviderError(
                "cuda", "torch finds no GPU to hold the images of CUDA graphs"
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
        return *sides(self.image_size), self.channels
