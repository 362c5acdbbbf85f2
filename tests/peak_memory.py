"""Peak memory of a call: the allocator's on a GPU, that of all tensors on a CPU."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Held(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it is on, and still there."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        before = {
            id_of(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)
        }
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and id_of(tensor) not in before:
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        number, size = storage._cdata, storage.nbytes()
        if number in self._known:
            return
        self._known.add(number)
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._forget, number, size)

    def _forget(self, number: int, size: int) -> None:
        self._known.discard(number)
        self.held -= size


def id_of(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def peak_bytes(device: torch.device, call: Callable[[], object]) -> int:
    """What a call holds at most, beyond what was there before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with Held() as held:
        call()
    return held.peak
