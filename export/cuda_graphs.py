"""Runs that CUDA has captured as graphs, and replays without launching each kernel."""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from rkdo_plugin.export.dlpack import bind_in_place, wait_for_torch


class CapturedRuns:
    """One graph for each of a few batch sizes, captured when this is made.

    A graph reads and writes where it did when it was captured, whatever is bound
    later: each has memory of its own, and batches are copied in and out.

    Args:
        session: onnxruntime's session, with option enable_cuda_graph.
        batches: The sizes; at least one. A batch of another size is filled up to the
            next one, and one above the largest runs in several.
        image: (H, W, C) of the images.
        dim: D, the number of components of an embedding.
        device: Where the session computes, as torch names it.
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
        self._runs = {
            batch: _Run(
                session,
                torch.zeros(batch, *image, dtype=torch.uint8, device=device),
                torch.zeros(batch, dim, device=device),
            )
            for batch in sorted(set(batches))
        }
        # Now: the first run captures, and memory that others allocate disturbs it.
        for run in self._runs.values():
            self._thread.submit(run).result()

    def embed(self, images: Tensor, embeddings: Tensor) -> None:
        """Embed images of any number.

        Args:
            images: uint8 (B, H, W, C), on any device.
            embeddings: float32 (B, D), on any device; filled.
        """
        wait_for_torch(images.device)  # the thread does not know this one's stream
        largest = max(self._runs)
        for start in range(0, len(images), largest):
            part = slice(start, start + largest)
            count = len(images[part])
            run = next(run for batch, run in self._runs.items() if batch >= count)
            self._thread.submit(run.embed, images[part], embeddings[part]).result()


class _Run:
    """A graph with its memory."""

    def __init__(self, session: Any, images: Tensor, embeddings: Tensor) -> None:
        self._session, self._images, self._embeddings = session, images, embeddings
        self._binding = bind_in_place(session, images, embeddings)
        self._options = onnxruntime.RunOptions()
        # onnxruntime replays by this number, without a look at what is bound.
        self._options.add_run_config_entry("gpu_graph_id", str(len(images)))

    def __call__(self) -> None:
        wait_for_torch(self._images.device)
        self._session.run_with_iobinding(self._binding, self._options)

    def embed(self, images: Tensor, embeddings: Tensor) -> None:
        self._images[: len(images)].copy_(images)
        self()
        embeddings.copy_(self._embeddings[: len(images)])
        wait_for_torch(self._images.device)  # before the next batch overwrites them
