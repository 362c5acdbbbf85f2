"""Runs that CUDA has captured as graphs, and replays without launching each kernel."""

import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.runtime.dlpack import bind_in_place, wait_for_torch

NO_GRAPH = -1
TOLERANCE = 1e-3  # of the largest component; the kernels are the same

_capturing = threading.Lock()  # a capture is broken by another one in the process


class CapturedRuns:
    """One graph for each of a few batch sizes, captured when this is made.

    A graph reads and writes where it did when it was captured, whatever is bound
    later: each has memory of its own, and batches are copied in and out.

    Args:
        session: onnxruntime's session, with option enable_cuda_graph.
        batches: The sizes; at least one.
        image: (H, W, C) of the images, which are square.
        dim: D, the number of components of an embedding.
        device: Where the session computes, as torch names it.

    Raises:
        RuntimeError: A graph does not compute what an ordinary run computes.
    """

    def __init__(
        self,
        session: Any,
        batches: Collection[int],
        image: tuple[int, int, int],
        dim: int,
        device: str,
    ) -> None:
        # onnxruntime wants captured graphs run by one thread; it is our lock, too.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rkdo-cuda-graphs")
        # Now, because what another thread allocates during a capture breaks it.
        with _capturing:
            self._runs = {
                batch: self._thread.submit(
                    _Run, session, (batch, *image), dim, device
                ).result()
                for batch in sorted(set(batches))
            }

    def embed(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed a batch, filled up to the next size that there is a graph for.

        Args:
            images: uint8 (B, H, W, C), on any device; B is at most the largest size.
            embeddings: float32 (B, D), on any device; filled.
        """
        wait_for_torch(images.device)  # the thread does not know this one's stream
        run = next(run for batch, run in self._runs.items() if batch >= len(images))
        self._thread.submit(run.embed, images, embeddings).result()


class _Run:
    """A graph with its memory; of one thread."""

    # Tensors of inference mode, which a caller may be in, are changed only within it.
    @torch.inference_mode()
    def __init__(
        self, session: Any, shape: tuple[int, int, int, int], dim: int, device: str
    ) -> None:
        batch, size, _, channels = shape
        self._session = session
        self._images = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._embeddings = torch.zeros(batch, dim, dtype=torch.float32, device=device)
        self._binding = bind_in_place(session, self._images, self._embeddings)
        self._graph = batch
        some = sample_images(8, size, channels)
        pictures = torch.from_numpy(some[np.arange(batch) % len(some)])
        expected = torch.zeros_like(self._embeddings)
        for _ in range(2):  # the first run allocates, which a capture must not
            self.embed(pictures, expected, graph=NO_GRAPH)
        found = torch.zeros_like(expected)
        for images in (torch.zeros_like(pictures), pictures):  # captures, replays
            self._embeddings.zero_()
            self.embed(images, found)
        far = float((found - expected).abs().max())
        if not far <= TOLERANCE * float(expected.abs().max()):
            raise RuntimeError(f"a replay differs from an ordinary run by {far:.1e}")

    @torch.inference_mode()
    def embed(
        self, images: Tensor, embeddings: Tensor, graph: int | None = None
    ) -> None:
        self._images[: len(images)].copy_(images)
        wait_for_torch(self._images.device)
        options = onnxruntime.RunOptions()
        # onnxruntime replays by this number, without a look at what is bound.
        number = self._graph if graph is None else graph
        options.add_run_config_entry("gpu_graph_id", str(number))
        self._session.run_with_iobinding(self._binding, options)
        embeddings.copy_(self._embeddings[: len(images)])
        wait_for_torch(self._images.device)  # before the next batch overwrites them
