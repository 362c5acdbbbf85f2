"""1/n sum_i D(p(.|i) || q(.|i)), by the shortest way to its value and gradient."""

from collections.abc import Callable

import torch
from torch import Tensor

from rkdo_plugin.divergences import DIVERGENCES, negative_entropy
from rkdo_plugin.kernels import Cosine
from rkdo_plugin.losses.learned import Learned
from rkdo_plugin.losses.negatives import pair_divergence, representable
from rkdo_plugin.supervision.target import Target

OfLogits = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Maps logits (R, C) of the anchors in a slice, which it may overwrite, to values (R,)
and to their derivative (R, C) with respect to the logits."""


def mean_divergence(p: Target, q: Learned, divergence: str) -> Tensor:
    """Mean over the anchors of a divergence, a scalar with gradient.

    Args:
        p: What should be near each anchor.
        q: What is near it.
        divergence: Key of `DIVERGENCES`.
    """
    if p.column is not None and _mean_suffices(p, q):
        return _mean_limit(q, p.column) / q.temperature
    if divergence == "kl" and _half_suffices(p, q):
        return pair_divergence(q.factors[0], q.temperature)
    if divergence != "kl":
        of_logits = _any_divergence(p, divergence)
    elif p.column is not None:
        of_logits = _one_hot_kl(q, p.column)
    else:
        of_logits = _kl(p, q)

    def of_rows(log_s: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        value, slope = of_logits(q.logits(log_s, rows, q.temperature), rows)
        if q.temperature != 1:
            slope.mul_(1 / q.temperature)
        return value, slope

    return q.mean_over_anchors(p, of_rows)


def _one_hot_kl(q: Learned, column: Tensor) -> OfLogits:
    """KL(p || q) = log Z - logits at the one candidate; its derivative is q - p."""
    (normalizer,) = q.normalizers([q.temperature])

    def of_logits(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        columns = column[rows]
        at_column = logits.gather(1, columns)
        value = (normalizer(logits) - at_column)[:, 0]
        minus_one = logits.new_full(columns.shape, -1)
        return value, logits.scatter_add_(1, columns, minus_one)

    return of_logits


def _kl(p: Target, q: Learned) -> OfLogits:
    """KL(p || q) = sum_j p_j (log p_j - logits_j) + log Z; its derivative is q - p."""
    (normalizer,) = q.normalizers([q.temperature])

    def of_logits(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        p_rows = p.rows(rows)
        value = -torch.linalg.vecdot(p_rows, logits)
        # Also over all pairs: log Z is then one, and p sums to 1 in the mean.
        value += normalizer(logits)[:, 0]
        if not q.limit:
            value += negative_entropy(p_rows)
        return value, logits.sub_(p_rows)

    return of_logits


def _any_divergence(p: Target, name: str) -> OfLogits:
    """D(p || q) with log q = logits - log Z."""

    def of_logits(logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        log_q = torch.log_softmax(logits, dim=1)
        value, slope = DIVERGENCES[name](p.rows(rows), log_q)
        total = slope.sum(dim=1, keepdim=True)
        return value, slope.addcmul_(log_q.exp_(), total, value=-1)

    return of_logits


def _half_suffices(p: Target, q: Learned) -> bool:
    """Whether unit vectors of two views are told apart, each from all the others."""
    comparison = q.comparison
    anchors, candidates = q.factors
    return (
        q.kernel == Cosine()
        and anchors is candidates
        and comparison.excludes_itself
        and comparison.anchor_ids is None
        and p.column is not None
        and p.column is comparison.positive
        and representable(len(anchors), q.temperature, anchors.dtype)
    )


def _mean_suffices(p: Target, q: Learned) -> bool:
    """Whether log Z of every anchor is a product with one mean of the candidates."""
    return (
        q.kernel.normalizer == "mean"
        and p.weight is None
        and not q.comparison.excludes_itself
        and q.comparison.anchor_ids is None
    )


def _mean_limit(q: Learned, column: Tensor) -> Tensor:
    """The one-hot KL whose log Z is a mean: no (A, C) matrix is needed."""
    anchors, candidates = q.factors
    positive = candidates[column[:, 0]]
    return ((candidates.mean(dim=0) - positive) * anchors).sum(dim=1).mean()
