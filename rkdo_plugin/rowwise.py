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
CPU_CHUNK = 2**17
ACCELERATOR_CHUNK = 2**22


def rowwise_mean(
    anchors: Tensor,
    candidates: Tensor,
    objective: RowObjective,
) -> Tensor:
    """Mean over rows of an objective of `anchors @ candidates.T`.

    Args:
        anchors: (A, D), one row of the objective each.
        candidates: (C, D), the columns.
        objective: Value and derivative of a chunk of rows.

    Returns:
        The mean, a scalar that is differentiable once.
    """
    elements = CPU_CHUNK if anchors.device.type == "cpu" else ACCELERATOR_CHUNK
    rows_per_chunk = max(1, elements // len(candidates))
    mean: Tensor = _RowwiseMean.apply(anchors, candidates, objective, rows_per_chunk)
    return mean


class _RowwiseMean(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        objective: RowObjective,
        rows_per_chunk: int,
    ) -> Tensor:
        for_anchors, for_candidates = ctx.needs_input_grad[:2]
        values = anchors.new_empty(len(anchors))
        anchors_grad = torch.empty_like(anchors) if for_anchors else None
        candidates_grad = torch.zeros_like(candidates) if for_candidates else None
        buffer = anchors.new_empty(min(rows_per_chunk, len(anchors)), len(candidates))
        for start in range(0, len(anchors), rows_per_chunk):
            rows = slice(start, min(start + rows_per_chunk, len(anchors)))
            products = buffer[: rows.stop - start]
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
        if torch.is_grad_enabled():  # by create_graph=True
            raise RuntimeError(
                "Expected to differentiate the loss once but got create_graph=True: "
                "its gradient is computed in closed form and has no graph"
            )
        anchors_grad, candidates_grad = (
            None if saved is None else saved * (grad / ctx.rows)
            for saved in ctx.saved_tensors
        )
        return anchors_grad, candidates_grad, None, None
