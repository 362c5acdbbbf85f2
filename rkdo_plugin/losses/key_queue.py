"""MoCo's queue: the keys of earlier steps, as further negatives."""

import torch
from lightly.utils import dist
from torch import Tensor, nn
from torch.autograd import Variable
from torch.nn import functional

from rkdo_plugin.kernels import Kernel
from rkdo_plugin.options import check_count, check_pair
from rkdo_plugin.supervision.comparison import (
    Comparison,
    check_one_shape,
    of_all_processes,
)


class KeyQueue(nn.Module):
    """The newest keys, first in, first out; part of the criterion's state.

    Keys enter when the loss that read them is differentiated. A second call in the same
    step does not see those of the first, and an evaluation leaves none.

    Args:
        memory_bank_size: Number of keys, which start as random directions, and D, their
            size.
        gather_distributed: Enter the keys of all processes, in the order of the ranks.

    Raises:
        TypeError: The sizes are no pair.
        ValueError: They are not two, or one is not positive.
    """

    keys: Tensor
    next: Tensor

    def __init__(
        self, memory_bank_size: tuple[int, int], gather_distributed: bool
    ) -> None:
        super().__init__()
        check_pair("memory_bank_size", memory_bank_size, "two integers (N, D)")
        size, dim = memory_bank_size
        check_count("memory_bank_size[0]", size)
        check_count("memory_bank_size[1]", dim)
        self.gather_distributed = gather_distributed
        keys = functional.normalize(torch.randn(size, dim), dim=1)
        self.register_buffer("keys", keys)
        self.register_buffer("next", torch.zeros((), dtype=torch.long))

    def compare(
        self, query: Tensor, key: Tensor, kernel: Kernel
    ) -> tuple[Comparison, tuple[Tensor, Tensor]]:
        """Compare each query (B, D) with its own key (B, D) and the queue's (N, D).

        The own key's product is a component of its query's factor, which the last
        candidate alone reads: a column (B, 1) instead of B columns.

        Returns:
            The comparison, and factors of its anchors and candidates for the kernel.

        Raises:
            ValueError: The shapes differ, or D is not the queue's.
        """
        check_one_shape(query, key)
        if query.shape[1] != self.keys.shape[1]:
            raise ValueError(
                f"Expected embeddings of the queue's size {self.keys.shape[1]} but got "
                f"{query.shape[1]}"
            )
        anchors, queued = kernel.factors(query, self.keys.to(query.dtype))
        own, keys = kernel.factors(query, key)
        anchors = torch.cat([anchors, (own * keys).sum(dim=1, keepdim=True)], dim=1)
        candidates = functional.pad(queued, (0, 1, 0, 1))
        candidates[-1, -1] = 1
        last = torch.full((len(query), 1), len(queued), device=query.device)
        comparison = Comparison(query, candidates, positive=last)
        return comparison, (anchors, candidates)

    def enter_after(self, loss: Tensor, keys: Tensor) -> None:
        """Let keys (B, D) enter once the loss is differentiated."""
        if not loss.requires_grad:
            return
        keys = keys.detach()
        if self.gather_distributed and dist.world_size() > 1:
            keys = of_all_processes(keys)
        waiting = [keys]  # a retained graph may be differentiated again

        def enter() -> None:
            while waiting:
                self._enter(waiting.pop())

        def at_the_end(grad: Tensor) -> None:
            # A checkpoint computes the loss again on the way, with the same queue.
            Variable._execution_engine.queue_callback(enter)

        loss.register_hook(at_the_end)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _enter(self, keys: Tensor) -> None:
        size = len(self.keys)
        places = (self.next + torch.arange(len(keys), device=keys.device)) % size
        # Of more keys than places, the newest stay.
        self.keys[places[-size:]] = keys[-size:].to(self.keys)
        self.next.add_(len(keys)).remainder_(size)
