"""Bytes and FLOPs of what PyTorch is asked to do, and the least that a card takes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

# Operations that move no bytes, although their results are new tensors.
FREE = ("empty", "new_empty", "empty_like", "empty_strided", "detach", "_unsafe_view")
# Those that read an index, and of their first argument what it names.
READ_BY_INDEX = ("gather", "index", "index_select")
WRITTEN_BY_INDEX = ("scatter", "index_put", "index_add", "index_copy", "scatter_add")
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Card:
    """A card's published rates.

    Attributes:
        name: Its name.
        bandwidth: Bytes a second of its memory.
        rates: Dense FLOPs a second in each arithmetic.
    """

    name: str
    bandwidth: float
    rates: Mapping[str, float]


H100 = Card(
    "H100 SXM",
    bandwidth=3.35e12,
    rates={"fp32": 67e12, "tf32": 495e12, "bf16": 989e12, "fp16": 989e12},
)


@dataclass(frozen=True)
class Operation:
    """One operation: bytes read and written, FLOPs, and whether in 16 bits."""

    bytes: int
    flops: int
    half: bool = False

    def seconds(self, card: Card, arithmetic: str) -> float:
        """The longer of moving and computing."""
        rate = card.rates["bf16" if self.half else arithmetic]
        return max(self.bytes / card.bandwidth, self.flops / rate)


@dataclass(frozen=True)
class Work:
    """What a call does in all.

    Attributes:
        launches: Operations, of which each is a kernel or more.
        bytes: Read and written.
        flops: Of products and convolutions; others are limited by their bytes.
        seconds: The least that a card takes.
    """

    launches: float
    bytes: float
    flops: float
    seconds: float

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(self.parts, other.parts, strict=True)))

    def __mul__(self, factor: float) -> "Work":
        return Work(*(factor * part for part in self.parts))

    @property
    def parts(self) -> tuple[float, float, float, float]:
        """The four numbers."""
        return self.launches, self.bytes, self.flops, self.seconds


@dataclass
class Count(TorchDispatchMode):
    """Notes each operation while it is on."""

    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and note it unless it moves nothing."""
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        name = function._overloadpacket.__name__
        views = any(
            each.alias_info is not None and not each.alias_info.is_write
            for each in function._schema.returns
        )
        tensors = [each for each in tree_leaves(out) if isinstance(each, Tensor)]
        if tensors and not views and name not in FREE:
            given = tree_leaves((args, kwargs))
            inputs = [each for each in given if isinstance(each, Tensor)]
            # Where it is in place, or the CPU's own, the formula is that of the other.
            same = name.rstrip("_").removesuffix("_for_cpu")
            formula = flop_registry.get(getattr(torch.ops.aten, same, None))
            self.operations.append(
                Operation(
                    _moved(name, inputs, tensors),
                    0 if formula is None else formula(*args, **kwargs, out_val=out),
                    any(each.dtype in HALF for each in tensors),
                )
            )
        return out

    def work(
        self, arithmetic: str = "fp32", *, fused: bool = False, card: Card = H100
    ) -> Work:
        """What was noted, on a card.

        Args:
            arithmetic: Of the products of 32 bits: "fp32" or "tf32".
            fused: Leave out what has no FLOPs, as a runtime does that computes it with
                the product before it.
            card: The card.
        """
        counted = [each for each in self.operations if each.flops or not fused]
        return Work(
            len(counted),
            sum(each.bytes for each in counted),
            sum(each.flops for each in counted),
            sum(each.seconds(card, arithmetic) for each in counted),
        )


def _moved(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    """Bytes that an operation reads and writes."""
    written = sum(map(_bytes, outputs))
    if name.startswith("new_") or name.endswith("_like"):
        return written  # it reads a shape
    if name in READ_BY_INDEX:
        return 2 * written + sum(map(_bytes, inputs[1:]))
    if name.rstrip("_") in WRITTEN_BY_INDEX:
        first, *others = inputs
        touched = max(each.numel() for each in others) * first.element_size()
        return 2 * touched + sum(map(_bytes, others))
    return written + sum(map(_bytes, inputs))


def _bytes(tensor: Tensor) -> int:
    """Of a tensor's distinct elements: what is expanded is read once."""
    sides = zip(tensor.shape, tensor.stride(), strict=True)
    distinct = math.prod(side for side, stride in sides if stride != 0)
    return distinct * tensor.element_size() if tensor.numel() else 0


def through(points: Mapping[int, Work], size: int) -> Work:
    """The polynomial through the work at a few sizes, at another size.

    Two sizes give a straight line, three a parabola (Lagrange's formula).
    """
    total = Work(0, 0, 0, 0)
    for own, work in points.items():
        factor = 1.0
        for other in points.keys() - {own}:
            factor *= (size - other) / (own - other)
        total += work * factor
    return total
