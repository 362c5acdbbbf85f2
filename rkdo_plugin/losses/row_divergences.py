"""Divergences of a chunk's rows, as functions of the logits that q is made of."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rkdo_plugin.divergences import DIVERGENCES, negative_entropy
from rkdo_plugin.losses.composition import Problem, log_sums_of_pairs
from rkdo_plugin.normalizers import NORMALIZERS

RowDivergence = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Maps logits (R, C), which it may overwrite, to values (R,) and slopes (R, C)."""


def row_divergence(
    problem: Problem, temperature: float, name: str, joint: bool
) -> RowDivergence:
    """The divergence of a problem's rows, by the shortest way to it.

    Args:
        problem: Gives p.
        temperature: tau, of the logits.
        name: Key of `DIVERGENCES`.
        joint: p and q sum to 1 over all pairs; "kl" only.
    """
    if joint:
        return _joint_kl(problem, temperature)
    if name != "kl":
        return _any_divergence(problem, name)
    if problem.target.column is not None:
        return _one_hot_kl(problem, problem.target.column)
    return _kl(problem)


def mean_limit(problem: Problem) -> Tensor:
    """One-hot KL whose normaliser is the mean of products: the product of a mean."""
    anchors, candidates = problem.factors
    assert problem.target.column is not None
    positive = candidates[problem.target.column[:, 0]]
    return ((candidates.mean(dim=0) - positive) * anchors).sum(dim=1).mean()


def _one_hot_kl(problem: Problem, column: Tensor) -> RowDivergence:
    """KL is the cross-entropy; its derivative is q - p."""
    normalizer = NORMALIZERS[problem.kernel.normalizer]

    def divergence(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        columns = column[rows]
        at_column = logits.gather(1, columns)
        value = (normalizer(logits) - at_column)[:, 0]
        minus_one = logits.new_full(columns.shape, -1)
        return value, logits.scatter_add_(1, columns, minus_one)

    return divergence


def _kl(problem: Problem) -> RowDivergence:
    """KL = sum_j p_j log p_j - sum_j p_j logits_j + normalizer."""
    normalizer = NORMALIZERS[problem.kernel.normalizer]
    limit = problem.kernel.normalizer != "softmax"

    def divergence(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        p = problem.target.rows(rows)
        value = -torch.linalg.vecdot(p, logits)
        value += normalizer(logits)[:, 0]
        if not limit:  # where 2 sigma^2 times the entropy vanishes
            value += negative_entropy(p)
        return value, logits.sub_(p)

    return divergence


def _any_divergence(problem: Problem, name: str) -> RowDivergence:
    def divergence(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        log_q = torch.log_softmax(logits, dim=1)
        value, slope = DIVERGENCES[name](problem.target.rows(rows), log_q)
        # log q = logits - logsumexp(logits)
        total = slope.sum(dim=1, keepdim=True)
        return value, slope.addcmul_(log_q.exp_(), total, value=-1)

    return divergence


def _joint_kl(problem: Problem, temperature: float) -> RowDivergence:
    """KL of P_ij = (p(j|i) + p(i|j)) / 2n and Q_ij, which sum to 1 over all pairs."""
    n = problem.comparison.num_anchors
    (log_sum,) = log_sums_of_pairs(problem, [temperature])

    def divergence(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        p = problem.joint_target(rows)
        log_q = logits.sub_(log_sum)
        value = negative_entropy(p) - torch.linalg.vecdot(p, log_q)
        value -= p.sum(dim=1) * math.log(n)
        return value, log_q.exp_().mul_(n).sub_(p)

    return divergence
