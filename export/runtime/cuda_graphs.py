"""Runs that CUDA captured as graphs and replays without launching each kernel."""

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
TOLERANCE = 1e-3  # relative to the largest component; the kernels are the same

_capturing = threading.Lock()  # two captures at once in a process break each other


class CapturedRuns:
    """One CUDA graph for each of a few batch sizes, captured when this is made.

    A graph always reads and writes the memory that it was captured with, even if other
    memory is bound later. So each graph has memory of its own, and batches are copied
    in and out.

    Args:
        session: onnxruntime's session, with the option enable_cuda_graph.
        batches: The batch sizes, at least one.
        image: (H, W, C) of the images.
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
        # onnxruntime needs one thread to run all captured graphs. The single thread
        # also keeps two batches apart.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rkdo-cuda-graphs")
        # All graphs are captured now: a later capture would break if another thread
        # allocated memory meanwhile.
        with _capturing:
            self._runs = {
                batch: self._thread.submit(
                    _Run, session, (batch, *image), dim, device
                ).result()
                for batch in sorted(set(batches))
            }

    def embed(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed a batch with the graph of the next larger or equal batch size.

        Args:
            images: uint8 (B, H, W, C), on any device. B is at most the largest size.
            embeddings: float32 (B, D), on any device. It is filled.
        """
        wait_for_torch(images.device)  # the graphs' thread has another stream
        run = next(run for batch, run in self._runs.items() if batch >= len(images))
        self._thread.submit(run.embed, images, embeddings).result()


class _Run:
    """A graph with its memory. Only one thread may use it."""

    # A caller may be in inference mode. Tensors that are made in it can be changed in
    # it only.
    @torch.inference_mode()
    def __init__(
        self, session: Any, shape: tuple[int, int, int, int], dim: int, device: str
    ) -> None:
        batch, height, width, channels = shape
        self._session = session
        self._images = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._embeddings = torch.zeros(batch, dim, dtype=torch.float32, device=device)
        self._binding = bind_in_place(session, self._images, self._embeddings)
        self._graph = batch
        some = sample_images(8, (height, width), channels)
        pictures = torch.from_numpy(some[np.arange(batch) % len(some)])
        expected = torch.zeros_like(self._embeddings)
        for _ in range(2):  # the first run allocates memory; a capture must not
            self.embed(pictures, expected, graph=NO_GRAPH)
        found = torch.zeros_like(expected)
        # The first run captures the graph, the second replays it.
        for images in (torch.zeros_like(pictures), pictures):
            self._embeddings.zero_()
            self.embed(images, found)
        far = float((found - expected).abs().max())
        if not far <= TOLERANCE * float(expected.abs().max()):
            raise RuntimeError(
                "Expected a replay to equal an ordinary run but it differs by "
                f"{far:.1e}"
            )

    @torch.inference_mode()
    def embed(
        self, images: Tensor, embeddings: Tensor, graph: int | None = None
    ) -> None:
        self._images[: len(images)].copy_(images)
        wait_for_torch(self._images.device)
        options = onnxruntime.RunOptions()
        # onnxruntime chooses the graph by this number and ignores what is bound.
        number = self._graph if graph is None else graph
        options.add_run_config_entry("gpu_graph_id", str(number))
        self._session.run_with_iobinding(self._binding, options)
        embeddings.copy_(self._embeddings[: len(images)])
        wait_for_torch(self._images.device)  # before the next batch overwrites them
