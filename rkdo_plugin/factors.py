"""Factors of embeddings: their matrix product is a distance or a cosine."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def distance_factors(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Factors whose product is ||a - c||^2 = ||a||^2 - 2 a.c + ||c||^2."""
    # Distances ignore a common shift; without the mean the squares cancel less.
    centre = candidates.detach().mean(dim=0)
    same = anchors is candidates
    candidates = candidates - centre
    anchors = candidates if same else anchors - centre
    ones = anchors.new_ones(1)
    return (
        torch.cat(
            [
                -2 * anchors,
                anchors.square().sum(dim=1, keepdim=True),
                ones.expand(len(anchors), 1),
            ],
            dim=1,
        ),
        torch.cat(
            [
                candidates,
                ones.expand(len(candidates), 1),
                candidates.square().sum(dim=1, keepdim=True),
            ],
            dim=1,
        ),
    )


class _UnitRows(torch.autograd.Function):
    """z / ||z||; its derivative projects a gradient g to (g - <g, u> u) / ||z||."""

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
        # A zero row has no direction: it stays zero and so does its gradient, which
        # dividing by a small constant would make explode.
        norm.masked_fill_(norm == 0, torch.inf)
        unit: Tensor = embeddings / norm
        ctx.save_for_backward(unit, norm)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        unit, norm = ctx.saved_tensors
        along = torch.linalg.vecdot(grad, unit)[:, None]
        projected: Tensor = torch.addcmul(grad, unit, along, value=-1).div_(norm)
        return projected


def unit_rows(embeddings: Tensor) -> Tensor:
    """Rows (B, D) divided by their Euclidean norm; a zero row stays zero."""
    unit: Tensor = _UnitRows.apply(embeddings)
    return unit
