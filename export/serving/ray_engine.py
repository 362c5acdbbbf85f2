"""Embed on the machines of a Ray cluster: they read, decode and infer; this one writes.

The machine that calls lists the source, too. So keys, parts and summaries are made as
without Ray, and only pixels and vectors come from elsewhere.
"""

import logging
import os
import pickle
import socket
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rkdo_plugin.export.encoder.image_size import parse_image_size
from rkdo_plugin.export.file.metadata import PREFIX
from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.reading.decoding import Reasons, Rows, chunk_images
from rkdo_plugin.export.reading.item import Item, Part, Place
from rkdo_plugin.export.runtime.providers import ProviderError
from rkdo_plugin.export.runtime.settings import Provider
from rkdo_plugin.export.serving.ray_stages import (
    CHUNK,
    Embedded,
    Embedder,
    Pixels,
    Reader,
)
from rkdo_plugin.export.serving.run import Run

ANSWER_SECONDS = 10.0  # Ray itself waits for two minutes, and then ends the process


class RaySession:
    """An exported encoder that the actors of a Ray cluster run, one session in each.

    Use it as a context manager in the place of an `EmbeddingSession`.

    Args:
        path: A file that `export_onnx` wrote. Only this machine reads it.
        provider: What computes. "auto": CUDA if the cluster has GPUs, otherwise the
            CPUs.
        address: The cluster: HOST:PORT, or "auto" for the one that this machine belongs
            to. By default a cluster of this machine alone, which ends with the block. A
            Ray that this process is connected to already is used, and stays.

    Attributes:
        provider: "cpu", "cuda" or "tensorrt".
        metadata: The file's metadata. Its keys start with `rkdo.`.
        image_size: Height and width in pixels that pictures are resized to.
        channels: Channels of the images.
        dim: D, the number of components of an embedding.
        places: Number of actors that the cluster has room for, by its CPUs or GPUs.

    Raises:
        ConnectionError: No cluster answers.
        FileNotFoundError: There is no such file.
        ImportError: Ray is not installed.
        ProviderError: The cluster has no GPU, and the provider needs one.
        ValueError: The address is neither of these, or the file is damaged.

    Example:
        >>> with RaySession("encoder.onnx", address="auto") as session: # doctest: +SKIP
        ...     print(embed_images(session, "/shared/photographs", "vectors"))
    """

    def __init__(
        self,
        path: str | Path,
        provider: Provider = "auto",
        *,
        address: str | None = None,
    ) -> None:
        try:
            import ray.data
        except ImportError as error:
            raise ImportError(
                "Expected Ray but it is not installed: pip install 'rkdo-plugin[ray]'"
            ) from error
        self._model = read_model(Path(path))
        self.metadata = self._model.metadata
        self.image_size = parse_image_size(self.metadata[PREFIX + "image_size"])
        self.channels = int(self.metadata[PREFIX + "channels"])
        self.dim = int(self.metadata[PREFIX + "dim"])
        self._closing = ExitStack()
        if not ray.is_initialized():
            _connect(address)
            self._closing.callback(ray.shutdown)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if provider == "auto":
            provider = "cuda" if "GPU" in resources else "cpu"
        self.provider: Provider = provider
        kind = "CPU" if provider == "cpu" else "GPU"
        self.places = int(resources.get(kind, 0))
        if not self.places:
            self._closing.close()
            raise ProviderError(provider, f"no machine of the Ray cluster has a {kind}")

    def __enter__(self) -> "RaySession":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def embedded(
        self,
        items: Iterable[Item],
        images: int,
        batch_size: int,
        actors: int,
        draft: bool = False,
    ) -> Iterator[Embedded]:
        """Embed images on the cluster.

        Args:
            items: The images. A worker lists them.
            images: Number of images of a chunk.
            batch_size: Number of images that run at once.
            actors: Number of actors, at most.
            draft: Whether large JPEGs may be decoded at a fraction.

        Yields:
            Chunks, in the order of the items.

        Raises:
            RuntimeError: The provider does not load, or a worker failed.
        """
        import ray
        from ray.data import ActorPoolStrategy
        from ray.data.exceptions import ExecutionTimeoutError

        pixels = Pixels(self.image_size, self.channels, str(Path.cwd()), draft)
        on_gpu = self.provider != "cpu"
        start = ray.data.from_items([0])
        context = start.context
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # byte: a chunk goes on as soon as it is read
        # The reader takes no CPU: the actors may hold them all, and wait for it. Stages
        # that ask for different resources are not run in one process.
        rows = start.map_batches(Reader(items, images, pixels.folder), num_cpus=0)
        if on_gpu:
            rows = rows.map(pixels, num_cpus=1)
        model = ray.put(self._model)
        options = (model, self.provider, batch_size, None if on_gpu else pixels)
        rows = rows.map(
            Embedder,  # type: ignore[arg-type]  # it takes classes, too
            fn_constructor_args=options,
            compute=ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
            num_cpus=0 if on_gpu else 1,
            num_gpus=1 if on_gpu else 0,
        )
        try:
            for row in rows.iter_rows():
                chunk = pickle.loads(row[CHUNK])
                if isinstance(chunk, RuntimeError):
                    raise chunk
                yield chunk
        except (ray.exceptions.RayError, ExecutionTimeoutError) as error:
            raise RuntimeError(f"a worker of the Ray cluster failed: {error}") from None


class RayEngine:
    """Embeds the items of a run with what the workers make of them.

    Args:
        session: The encoder.
        run: Says which images are left, which a worker lists, too.
        actors: Number of actors, at most; by default as many as there are places.

    Attributes:
        waited: None: how long the actors wait for images is not known.

    Raises:
        ValueError: The number of actors is below 1.
    """

    waited = None

    def __init__(self, session: RaySession, run: Run, actors: int | None) -> None:
        if actors is None:
            actors = session.places
        if actors < 1:
            raise ValueError(f"Expected `workers` to be at least 1 but got {actors}")
        self._session, self._run, self._actors = session, run, actors
        self._images = chunk_images(
            session.image_size, session.channels, run.batch_size
        )

    def __enter__(self) -> "RayEngine":
        self._rows = self._each()
        return self

    def __exit__(self, *error: object) -> None:
        self._rows.close()

    def map(self, items: Iterable[Item]) -> Iterator[tuple[list[Item], Rows, Reasons]]:
        """Do as `Decoder.map` does, for the next of the images that are left.

        Raises:
            RuntimeError: The workers list other images, or one of them failed.
        """
        rest = iter(items)
        while chunk := list(islice(rest, self._images)):
            found = list(islice(self._rows, len(chunk)))
            for item, there in zip(chunk, [*found, None], strict=False):
                if there is None or there[0] != item.key:
                    raise RuntimeError(
                        f"Expected the workers to find the image {item.key} but they "
                        f"found {'none' if there is None else there[0]}: the source "
                        "has changed, or they see other files than this machine"
                    )
            for item, (key, _, reason) in zip(chunk, found, strict=True):
                if (
                    reason is not None
                    and reason.startswith("FileNotFoundError")
                    and _is_here(item.place)
                ):
                    raise RuntimeError(
                        f"Expected the workers to see the files of this machine but "
                        f"not {key}: {reason}"
                    )
            rows = [row for _, row, reason in found if reason is None]
            vectors: Rows = np.array(rows, dtype=np.float32)
            vectors = vectors.reshape(-1, self._session.dim)
            yield chunk, vectors, [reason for _, _, reason in found]

    def _each(self) -> Generator[tuple[str, Any, str | None], None, None]:
        chunks = self._session.embedded(
            self._run.left,
            self._images,
            self._run.batch_size,
            self._actors,
            self._run.draft,
        )
        for keys, rows, reasons in chunks:
            vectors = iter(rows)
            for key, reason in zip(keys, reasons, strict=True):
                yield key, next(vectors) if reason is None else None, reason


def _is_here(place: Place) -> bool:
    file = place.file if isinstance(place, Part) else place
    return isinstance(file, Path) and file.exists()


def _connect(address: str | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None:
        ray.init(address="local", include_dashboard=False, **options)
        return
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"Expected `address` to be auto or HOST:PORT: {address}")
        try:
            socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
        except OSError as error:
            raise ConnectionError(
                f"Expected a Ray cluster at {address} but got: {error}"
            ) from error
    ray.init(address=address, **options)
