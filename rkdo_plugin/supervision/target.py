"""p(j|i), a chunk of rows at a time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from rkdo_plugin.options import check_count
from rkdo_plugin.rowwise import chunks
from rkdo_plugin.supervision.comparison import Comparison

Rows = Callable[[slice], Tensor]


@dataclass(frozen=True)
class Target:
    """Supervisory distributions of a comparison's anchors.

    Attributes:
        rows: p(j|i) (R, C) of the anchors in a slice, in a tensor that may be
            overwritten; 0 where the comparison excludes.
        column: (A, 1), where p is one-hot; None where it is not.
        weight: (A,) of mean 1, how much each anchor counts; None: all alike.
        candidate_weight: (C,), how much each candidate counts; None: all alike.
        transposed: p(i|j) (R, C) of the anchors i in a slice; None where unknown.
    """

    rows: Rows
    column: Tensor | None = None
    weight: Tensor | None = None
    candidate_weight: Tensor | None = None
    transposed: Rows | None = None

    def over_all_pairs(self) -> "Target":
        """(p(j|i) + p(i|j)) / 2, which sums to the number of anchors over all pairs.

        Raises:
            ValueError: p(i|j) is unknown, or some count more than others.
        """
        transposed = self.transposed
        if self.candidate_weight is not None:
            raise ValueError(
                "Expected no weights by `degrees` with `joint`, whose pairs all count "
                "alike, but got some"
            )
        if transposed is None:
            raise ValueError(
                "Expected one view and supervision 'gaussian' or 'perplexity' with "
                "`joint`, which reads p(i|j) beside p(j|i), but got another"
            )
        return Target(lambda rows: self.rows(rows).add_(transposed(rows)).div_(2))


class Supervision(Protocol):
    """What should be near what: makes p from a comparison and `targets`."""

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors.

        Args:
            comparison: Who is compared with whom.
            targets: What the supervision reads: labels (B,) of the B samples, features
                (B, F), or a matrix.

        Raises:
            TypeError: `targets` is missing, or of the wrong type.
            ValueError: `targets` is of the wrong length or range.
        """


def one_hot(
    comparison: Comparison, column: Tensor, weight: Tensor | None = None
) -> Target:
    """All of p on one column (A, 1)."""

    def rows(rows: slice) -> Tensor:
        columns = column[rows]
        p = comparison.anchors.new_zeros(len(columns), len(comparison.candidates))
        return p.scatter_(1, columns, 1)

    return Target(rows, column, weight)


def debiased(target: Target, comparison: Comparison, debias: float) -> Target:
    """Mix p evenly: p' = (1 - debias) p + debias / n over an anchor's n candidates."""
    if debias == 0:
        return target

    def mixing(rows_of: Rows) -> Rows:
        def rows(rows: slice) -> Tensor:
            uniform = comparison.allowed(rows)
            uniform.mul_(debias / uniform.sum(dim=1, keepdim=True))
            if target.column is not None:
                columns = target.column[rows]
                share = uniform.new_full(columns.shape, 1 - debias)
                return uniform.scatter_add_(1, columns, share)
            return uniform.add_(rows_of(rows), alpha=1 - debias)

        return rows

    transposed = None if target.transposed is None else mixing(target.transposed)
    return replace(target, rows=mixing(target.rows), column=None, transposed=transposed)


def of_counted(comparison: Comparison, counted: Tensor) -> Tensor | None:
    """Weights (A,) of mean one that leave out the anchors that do not count (A,).

    None where all count. Of several processes each has weights: it cannot tell whether
    another one leaves some out, and all have to ask.
    """
    if not comparison.gathered and counted.all():
        return None
    return mean_one(comparison, counted.to(comparison.anchors))


def mean_one(comparison: Comparison, weight: Tensor) -> Tensor:
    """Weights (A,) divided by their mean over all anchors; all 0 where they are."""
    total = comparison.of_all(weight).sum()
    return weight * (comparison.num_anchors / total.where(total > 0, 1))


@dataclass(frozen=True)
class RandomWalk:
    """p^n: where a walk of n steps along another supervision ends.

    Where the anchor itself is no candidate, the share of walks that end at their start
    goes to the others in proportion.

    Attributes:
        supervision: Gives the p of one step.
        steps: n.
    """

    supervision: Supervision
    steps: int = 2

    def __post_init__(self) -> None:
        check_count("steps", self.steps)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the walk."""
        step = self.supervision(comparison, targets)
        columns = len(comparison.candidates)
        if len(comparison.anchors) != columns or comparison.itself is None:
            raise ValueError(
                "Expected anchors that are each other's candidates, in one process, to "
                f"walk among but got {len(comparison.anchors)} anchors and {columns} "
                "candidates"
            )

        def rows(rows: slice) -> Tensor:
            p = step.rows(rows)
            for _ in range(self.steps - 1):
                reached = torch.zeros_like(p)
                for others in chunks(columns, columns, p.device):
                    reached.addmm_(p[:, others], step.rows(others))
                p = reached
            comparison.exclude(p, rows, fill=0)
            return p.div_(p.sum(dim=1, keepdim=True).clamp_min_(tiny(p)))

        return Target(rows, weight=step.weight)


def tiny(values: Tensor) -> float:
    """The smallest normal number of a dtype: what stands for 0 in a denominator."""
    return float(torch.finfo(values.dtype).tiny)
