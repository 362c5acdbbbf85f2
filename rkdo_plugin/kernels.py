"""Similarities of embeddings, each as a function of one matrix of dot products.

Every kernel maps anchors and candidates to factors whose products hold all that the
similarity depends on, so that one matrix multiplication serves any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Kernel:
    """A similarity s(f_i, f_j), as its logarithm.

    Attributes:
        factors: Maps anchors (A, D) and candidates (C, D) to factors (A, E), (C, E).
        log_similarity: Maps products (R, C) of factors, which it may overwrite, to
            log s (R, C) and its derivative with respect to the products; None is 1.
    """

    factors: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    log_similarity: Callable[[Tensor], tuple[Tensor, Tensor | None]]


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


def softmax_(logits: Tensor) -> Tensor:
    """Overwrite logits (R, C) by q = softmax(logits); returns their logsumexp (R, 1).

    In place, because a fresh (R, C) buffer costs more than the arithmetic.
    """
    largest = logits.amax(dim=1, keepdim=True)
    total = logits.sub_(largest).exp_().sum(dim=1, keepdim=True)
    logits.div_(total)
    return total.log_().add_(largest)


def _unit_factors(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    unit = unit_rows(anchors)
    return unit, unit if candidates is anchors else unit_rows(candidates)


def _identity(products: Tensor) -> tuple[Tensor, None]:
    return products, None


def _distance_factors(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Factors whose product is ||a - c||^2 = ||a||^2 - 2 a.c + ||c||^2."""
    # Distances ignore a common shift; without the mean the squares cancel less.
    centre = candidates.detach().mean(dim=0)
    anchors, candidates = anchors - centre, candidates - centre
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


def _log_student_t(squared_distances: Tensor) -> tuple[Tensor, Tensor]:
    denominator = squared_distances.clamp_(min=0).add_(1)
    return denominator.log().neg_(), denominator.reciprocal_().neg_()


KERNELS = {
    "cosine": Kernel(_unit_factors, _identity),
    "student_t": Kernel(_distance_factors, _log_student_t),
}
