"""The recursion of p by q on a chunk's rows, forward and backward."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rkdo_plugin.losses.composition import Problem, log_sums_of_pairs
from rkdo_plugin.normalizers import NORMALIZERS
from rkdo_plugin.rowwise import chunks
from rkdo_plugin.supervision.target import tiny


@dataclass(frozen=True)
class Recursion:
    """Values (R,) and derivative (R, C) of rows of products (R, C).

    Backwards, A_t collects dL/dp_t: A_t = log p_t - log q_t + (1 - a) A_{t+1}, and
    reaches q_{t-1} with weight a. Constants along a row cancel in softmax's derivative
    q * (A - <A, q>), so they are left out of A. Over all pairs, q sums to n rather than
    1 a row, the mean over pairs stands for the row's, and both need a pass beforehand.
    """

    problem: Problem
    coupling: float
    tau: list[float]
    through_target: bool
    log_sums: Tensor | None = None
    centres: Tensor | None = None

    def __call__(self, products: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Values (R,) and derivative (R, C) of the products, which it overwrites."""
        log_s, derivative = self.problem.log_similarity(products)
        value, slope, _ = self._rows(log_s, rows)
        if derivative is not None:
            slope.mul_(derivative)
        weight = self.problem.target.weight
        if weight is not None:
            value, slope = value * weight[rows], slope.mul_(weight[rows, None])
        return value, slope

    def over_all_pairs(self) -> "Recursion":
        """The recursion of p and q that sum to 1 over all pairs."""
        problem = self.problem
        joint = replace(self, log_sums=log_sums_of_pairs(problem, self.tau))
        anchors, candidates = (factor.detach() for factor in problem.factors)
        sums = []
        for rows in chunks(len(anchors), len(candidates), anchors.device):
            log_s, _ = problem.log_similarity(anchors[rows] @ candidates.T)
            sums.append(joint._rows(log_s, rows)[2])
        n = problem.comparison.num_anchors
        return replace(
            joint, centres=problem.comparison.of_all(torch.cat(sums)).sum(0) / n
        )

    def _rows(self, log_s: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Values (R,), slopes (R, C) and sums of A_t q_{t-1} over the rows (R, T)."""
        a, tau, problem = self.coupling, self.tau, self.problem
        depth = len(tau) - 1
        joint = self.log_sums is not None
        normalizer = NORMALIZERS[problem.kernel.normalizer]
        limit = problem.kernel.normalizer != "softmax"
        problem.comparison.exclude(log_s, rows)
        if not joint and not limit:
            # Softmax ignores the shift; log p - log s / tau cancels less with it.
            log_s.sub_(log_s.amax(dim=1, keepdim=True))
        smallest_normal = torch.finfo(log_s.dtype).tiny
        p = problem.joint_target(rows) if joint else problem.target.rows(rows)
        value = log_s.new_zeros(len(log_s))
        slope = torch.zeros_like(log_s)
        log_n = math.log(problem.comparison.num_anchors)
        q: list[Tensor] = []
        log_ratio: list[Tensor] = []
        for t in range(depth + 1):
            logits = log_s * (1 / tau[t])
            if (weight := problem.target.candidate_weight) is not None:
                logits += weight.clamp_min(tiny(weight)).log()
            if t > 0:
                p.lerp_(q[t - 1], a)
                # p = 0 meets its logarithm only as 0 log 0 = 0
                ratio = (
                    torch.zeros_like(p)
                    if limit
                    else p.clamp_min(smallest_normal).log_()
                )
                ratio.sub_(logits)
                log_ratio.append(ratio)
                value += torch.linalg.vecdot(p, ratio)
            if self.log_sums is not None:
                log_q = logits.sub_(self.log_sums[t] - log_n)
                log_normalizer = p.sum(dim=1) * (self.log_sums[t] - log_n)
                q.append(log_q.exp_())
            else:
                log_normalizer = normalizer(logits)[:, 0]
                q.append(logits)
            if t > 0:
                value += log_normalizer
                slope.add_(q[t], alpha=1 / tau[t]).sub_(p, alpha=1 / tau[t])
        sums = value.new_zeros(len(value), depth)
        if not self.through_target or limit:  # whose q does not move
            return value, slope, sums
        to_p = log_ratio[-1]
        for t in range(depth, 0, -1):
            if t < depth:
                to_p = log_ratio[t - 1].add_(to_p, alpha=1 - a)
            sums[:, t - 1] = torch.linalg.vecdot(to_p, q[t - 1])
            if not joint:
                to_q = to_p.sub_(sums[:, t - 1, None])
            elif self.centres is not None:
                to_q = to_p - self.centres[t - 1]
            else:  # the pass that finds them
                continue
            slope.addcmul_(to_q, q[t - 1], value=a / tau[t - 1])
        return value, slope, sums
