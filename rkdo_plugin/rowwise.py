"""Evaluate a row-wise objective in chunks: value and gradient in one pass.

A criterion over (A, C) pairs of embeddings is a mean over rows. Each row's gradient
with respect to its similarities has a closed form, so a chunk of rows is computed,
differentiated and forgotten before the next one: memory is O(chunk x C), never A x C.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

RowObjective = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Maps products (R, C) of the rows in the slice to their values (R,) and to the
derivative (R, C) of each row's value with respect to its products, which it may
overwrite."""

# Elements of a chunk. On a CPU a chunk's dozen temporaries should stay in the cache.
CPU_CHUNK = 2**18
ACCELERATOR_CHUNK = 2**22


def rowwise_mean(
    anchors: Tensor,
    candidates: Tensor,
    objective: RowObjective,
) -> Tensor:
    """Mean over rows of an objective of `anchors @ candidates.T`.

    Args:
        anchors: Embeddings (A, D). Each is one row of the objective.
        candidates: Embeddings (C, D). Each is one column.
        objective: Value and derivative of a chunk of rows.

    Returns:
        The mean, a scalar that is differentiable once.
    """
    mean: Tensor = _RowwiseMean.apply(anchors, candidates, objective)
    return mean


def chunk_elements(device: torch.device) -> int:
    """Number of products that are held at once."""
    return CPU_CHUNK if device.type == "cpu" else ACCELERATOR_CHUNK


def chunks(rows: int, columns: int, device: torch.device) -> list[slice]:
    """Slices of the rows: each is computed and held in memory as one chunk."""
    step = max(1, chunk_elements(device) // max(1, columns))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def refuse_second_derivative() -> None:
    """Raise a RuntimeError in a backward pass that is to be differentiated itself."""
    if torch.is_grad_enabled():  # by create_graph=True
        raise RuntimeError(
            "Expected to differentiate the loss once but got create_graph=True: "
            "its gradient is computed in closed form and has no graph"
        )


class _RowwiseMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        objective: RowObjective,
    ) -> Tensor:
        for_anchors, for_candidates = ctx.needs_input_grad[:2]
        values = anchors.new_empty(len(anchors))
        anchors_grad = torch.empty_like(anchors) if for_anchors else None
        candidates_grad = torch.zeros_like(candidates) if for_candidates else None
        slices = chunks(len(anchors), len(candidates), anchors.device)
        buffer = anchors.new_empty(slices[0].stop, len(candidates))
        for rows in slices:
            products = buffer[: rows.stop - rows.start]
            torch.mm(anchors[rows], candidates.T, out=products)
            values[rows], slope = objective(products, rows)
            if anchors_grad is not None:
                torch.mm(slope, candidates, out=anchors_grad[rows])
            if candidates_grad is not None:
                candidates_grad.addmm_(slope.T, anchors[rows])
        ctx.rows = len(anchors)
        ctx.save_for_backward(anchors_grad, candidates_grad)
        return values.mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        anchors_grad, candidates_grad = (
            None if saved is None else saved * (grad / ctx.rows)
            for saved in ctx.saved_tensors
        )
        return anchors_grad, candidates_grad, None
