"""What losses would cost on a GPU: kernels, bytes and FLOPs, and a predicted time.

    python benchmarks/loss_kernels.py [BATCH ...]

Forward and backward, D = 128, float32, on PyTorch's meta device: every operation is
counted and nothing is computed, so it needs no GPU. Batches 256 to 16384 by default.

The prediction is a sum over kernels. Each takes as long as the slowest of its launch,
its bytes and its FLOPs on an H100 SXM. A kernel whose bytes fit into the L2 cache is
taken to find them there; that flatters small batches of every loss alike. An operation
counts as one kernel, also where PyTorch launches several. Lightly's loss selects by a
mask, which takes some kernels more and waits for the GPU.
"""

import math
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rkdo_plugin import IConLoss
from rkdo_plugin.losses.benchmark import CRITERIA
from rkdo_plugin.losses.recursion import Recursion

D = 128
LAUNCH = 5e-6  # seconds from one kernel to the next, where the host is the bottleneck
MEMORY, CACHE = 3.35e12, 5.5e12  # bytes a second
CACHE_SIZE = 40e6  # bytes of the L2 cache of 50 MB that one kernel may count on
RATES = {"float32": 67e12, "TF32": 495e12}  # FLOPs a second
LOSSES = {
    **CRITERIA,
    "rkdo without Triton": CRITERIA["rkdo"],
    "icon, debias 0.2": lambda: IConLoss(debias=0.2),
}
NO_KERNEL = ("empty", "new_empty", "empty_like", "new_empty_strided", "promote_types")
ONLY_WRITE = ("arange", "eye", "new_full", "new_ones", "new_zeros", "ones_like")
ONLY_WRITE += ("scalar_tensor", "zero_", "zeros_like")
AT_INDEX = ("gather", "scatter_", "scatter_add_")
HEADER = """\
| loss | B | kernels | GB | GFLOP | ms, float32 | ms, TF32 | of NT-Xent |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Kernel:
    """One operation.

    Attributes:
        size: Bytes read and written.
        flops: Of its matrix product; 0 for other operations.
    """

    size: int
    flops: int

    def seconds(self, rate: float) -> float:
        """On an H100 SXM."""
        bandwidth = CACHE if self.size <= CACHE_SIZE else MEMORY
        return max(LAUNCH, self.size / bandwidth, self.flops / rate)


@dataclass
class Kernels(TorchDispatchMode):
    """Records what would run on the device."""

    kernels: list[Kernel] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None) -> Any:
        name = function.__name__.split(".")[0]
        if name == "index" and args[1][0].dtype == torch.bool:
            # NT-Xent's mask: everything but a diagonal. Meta tensors hold no values.
            rows = args[0].shape[0]
            out = args[0].new_empty(rows * (rows - 1))
        elif name == "index_put":  # its gradient
            out = torch.empty_like(args[0])
        else:
            out = function(*args, **(kwargs or {}))
        if not function.is_view and name not in NO_KERNEL:
            self.kernels.append(Kernel(_bytes(name, args, out), _flops(name, args)))
        return out


def _bytes(name: str, args: tuple[Any, ...], out: Any) -> int:
    """Bytes that an operation reads and writes."""
    written = sum(map(_size, tree_leaves(out)))
    if name in ONLY_WRITE:
        return written
    if name in AT_INDEX:  # index, old and new value of one element a row
        return 4 * _size(args[2])
    return written + sum(map(_size, tree_leaves(args)))


def _size(value: Any) -> int:
    """Bytes of a tensor, without those that `expand` repeats."""
    if not isinstance(value, Tensor):
        return 0
    axes = zip(value.shape, value.stride(), strict=True)
    return math.prod(n for n, stride in axes if stride) * value.element_size()


def _flops(name: str, args: tuple[Any, ...]) -> int:
    if name not in ("mm", "addmm", "addmm_", "bmm", "baddbmm"):
        return 0
    left, right = [arg for arg in args if isinstance(arg, Tensor)][-2:]
    return 2 * left.numel() * right.shape[-1]


def kernels_of(name: str, batch_size: int) -> list[Kernel]:
    """Kernels of one forward and backward pass of a loss."""
    z0, z1 = (
        torch.empty(batch_size, D, device="meta").requires_grad_() for _ in range(2)
    )
    seen = Kernels()

    def by_triton(self: Recursion, log_s: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """What recursion_triton.py reads and writes."""
        self.p.rows(rows)
        torch.cat([log_s.new_full((1,), 1 / tau) for tau in self.temperatures])
        seen.kernels += [Kernel(times * _size(log_s), 0) for times in (1, 2, 3)]
        return log_s[:, 0], log_s

    with (
        # Losses switch autocast off, which the meta device knows nothing of.
        patch("torch.autocast", lambda *_, **__: nullcontext()),
        patch.object(Recursion, "_fits_triton", lambda *_: name == "rkdo"),
        patch.object(Recursion, "_by_triton", by_triton),
        seen,
    ):
        LOSSES[name]()(z0, z1).backward()
    return seen.kernels


def main(*batch_sizes: str) -> None:
    """Print a table."""
    print(HEADER)
    for batch_size in map(int, batch_sizes or ("256", "1024", "4096", "16384")):
        reference = 0.0
        for name in LOSSES:
            kernels = kernels_of(name, batch_size)
            float32, tf32 = (
                1e3 * sum(kernel.seconds(rate) for kernel in kernels)
                for rate in RATES.values()
            )
            reference = reference or float32  # NT-Xent is the first
            size = sum(kernel.size for kernel in kernels) / 1e9
            flops = sum(kernel.flops for kernel in kernels) / 1e9
            print(
                f"| {name} | {batch_size} | {len(kernels)} | {size:.2f} | {flops:.1f} "
                f"| {float32:.2f} | {tf32:.2f} | {float32 / reference:.2f} |"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
