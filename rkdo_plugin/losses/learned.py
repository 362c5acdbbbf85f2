"""q(j|i): how near the candidates are to each anchor, by a kernel of embeddings.

A normaliser turns logits into q. Each of them maps logits (R, C) to log Z (R, 1) and
overwrites the logits by its derivative, which for the softmax is q itself. It works in
place because a fresh (R, C) buffer costs more than the arithmetic.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rkdo_plugin.kernels import Kernel
from rkdo_plugin.rowwise import chunks, rowwise_mean
from rkdo_plugin.supervision.comparison import Comparison, lowest
from rkdo_plugin.supervision.target import Target, tiny

Normalizer = Callable[[Tensor], Tensor]

OfRows = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Maps log s (R, C) of the anchors in a slice, which it may overwrite, to values (R,)
and to their derivative (R, C) with respect to log s."""


def softmax_(logits: Tensor) -> Tensor:
    """Log Z = log sum_j exp(logits_j)."""
    largest = logits.amax(dim=1, keepdim=True)
    total = logits.sub_(largest).exp_().sum(dim=1, keepdim=True)
    logits.div_(total)
    return total.log_().add_(largest)


def mean_(logits: Tensor) -> Tensor:
    """The mean over the candidates: the limit of a Gaussian of infinite bandwidth."""
    weights = (logits > lowest(logits.dtype) / 2).to(logits)
    weights /= weights.sum(dim=1, keepdim=True)
    mean: Tensor = torch.linalg.vecdot(weights, logits)[:, None]
    logits.copy_(weights)
    return mean


def max_(logits: Tensor) -> Tensor:
    """The largest logit: the limit of a Gaussian of bandwidth 0."""
    largest, at = logits.max(dim=1, keepdim=True)
    logits.zero_().scatter_(1, at, 1)
    return largest


NORMALIZERS: dict[str, Normalizer] = {"softmax": softmax_, "mean": mean_, "max": max_}


@dataclass(frozen=True)
class Learned:
    """q(j|i) = w_j s(f_i, f_j)^(1 / tau) / Z_i over the candidates j of each anchor i.

    Attributes:
        comparison: Anchors (A, D) and candidates (C, D).
        kernel: s.
        factors: (A, E) and (C, E). The kernel computes log s from their products.
        temperature: tau.
        candidate_weight: w (C,); None where all candidates count alike.
        joint: Z is one sum over all pairs instead of one sum for each anchor, so that q
            sums to the number of anchors.
    """

    comparison: Comparison
    kernel: Kernel
    factors: tuple[Tensor, Tensor]
    temperature: float
    candidate_weight: Tensor | None = None
    joint: bool = False

    @property
    def limit(self) -> bool:
        """Whether the kernel is a limit, in which p's entropy vanishes beside log q."""
        return self.kernel.normalizer != "softmax"

    def over_all_pairs(self) -> "Learned":
        """The same similarities, normalised over all pairs."""
        return replace(self, joint=True)

    def logits(self, log_s: Tensor, rows: slice, temperature: float) -> Tensor:
        """Overwrite log s (R, C) by log s / tau + log w; very low where excluded."""
        if temperature != 1:
            log_s.mul_(1 / temperature)
        self.comparison.exclude(self.weighted(log_s), rows)
        return log_s

    def weighted(self, logits: Tensor) -> Tensor:
        """Add log w to logits (R, C), in place."""
        if (weight := self.candidate_weight) is not None:
            logits += weight.clamp_min(tiny(weight)).log()
        return logits

    def normalizers(self, temperatures: Sequence[float]) -> list[Normalizer]:
        """What turns the logits of each temperature into q."""
        if self.joint:
            log_n = math.log(self.comparison.num_anchors)
            return [_joint(log_z) for log_z in self._log_sums(temperatures) - log_n]
        return [NORMALIZERS[self.kernel.normalizer]] * len(temperatures)

    def mean_over_anchors(self, p: Target, of_rows: OfRows) -> Tensor:
        """Mean over the anchors of a function of log s, a scalar with gradient.

        Args:
            p: Says how much each anchor counts.
            of_rows: The function, with its derivative.
        """

        def of_products(products: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
            log_s, derivative = self.kernel.log_similarity(products)
            value, slope = of_rows(log_s, rows)
            if derivative is not None:
                slope.mul_(derivative)
            if p.weight is not None:
                value, slope = value * p.weight[rows], slope.mul_(p.weight[rows, None])
            return value, slope

        return rowwise_mean(*self.factors, of_products)

    def chunks(self) -> Iterator[tuple[Tensor, slice]]:
        """Log s (R, C) without gradient, a chunk of anchors at a time."""
        anchors, candidates = (factor.detach() for factor in self.factors)
        for rows in chunks(len(anchors), len(candidates), anchors.device):
            log_s, _ = self.kernel.log_similarity(anchors[rows] @ candidates.T)
            yield log_s, rows

    def _log_sums(self, temperatures: Sequence[float]) -> Tensor:
        """Log sum_ij exp(logits_ij) over all pairs, for each temperature (T,)."""
        sums = []
        for log_s, rows in self.chunks():
            of_rows = [
                self.logits(log_s.clone(), rows, temperature).logsumexp(dim=1)
                for temperature in temperatures
            ]
            sums.append(torch.stack(of_rows, dim=1))
        return self.comparison.of_all(torch.cat(sums)).logsumexp(dim=0)


def _joint(log_z: Tensor) -> Normalizer:
    """The softmax with a Z that is known already."""

    def joint_(logits: Tensor) -> Tensor:
        logits.sub_(log_z).exp_()
        return log_z.expand(len(logits), 1)

    return joint_
