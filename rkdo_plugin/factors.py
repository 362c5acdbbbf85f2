"""Factors of embeddings: their matrix product is a distance or a cosine."""

from typing import Any

import torch
from torch import Tensor

from rkdo_plugin.rowwise import refuse_second_derivative


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """Float64 if one of the tensors is, or else float32."""
    double = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if double else torch.float32


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
        # The squares of numbers up to 1 neither overflow nor vanish. A zero row has no
        # direction: it stays zero and so does its gradient, which dividing by a small
        # constant would make explode.
        largest = embeddings.abs().amax(dim=1, keepdim=True)
        largest.masked_fill_(largest == 0, torch.inf)
        scaled = embeddings / largest
        norm = torch.linalg.vector_norm(scaled, dim=1, keepdim=True).clamp_(min=1)
        unit: Tensor = scaled.div_(norm)
        ctx.save_for_backward(unit, norm * largest)
        return unit

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        refuse_second_derivative()
        unit, norm = ctx.saved_tensors
        # Not vecdot: in half precision, where `backward` is called under autocast.
        along = (grad * unit).sum(dim=1, keepdim=True)
        projected: Tensor = torch.addcmul(grad, unit, along, value=-1).div_(norm)
        return projected


def unit_rows(embeddings: Tensor) -> Tensor:
    """Rows (B, D) divided by their Euclidean norm; a zero row stays zero."""
    unit: Tensor = _UnitRows.apply(embeddings)
    return unit
