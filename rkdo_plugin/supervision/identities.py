"""p by identity: other views, the same class, the anchor itself, or given rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rkdo_plugin.supervision import targets_given
from rkdo_plugin.supervision.comparison import Comparison
from rkdo_plugin.supervision.target import Target, mean_one, of_counted, one_hot, tiny

IGNORED = -100  # the class of what has none, as in torch.nn.functional.cross_entropy
SUM_TOLERANCE = 1e-4  # of rows that should sum to 1; single precision rounds


@dataclass(frozen=True)
class Pairs:
    """All of p on the other view of the anchor's sample.

    With one tensor of any number of views, `targets` (B,) say which sample each row
    shows, and p is spread evenly over its other views.
    """

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        if comparison.positive is None:
            return _same(comparison, targets, "samples")
        if targets is not None:
            raise TypeError(
                "Expected no `targets` with two views and supervision 'pairs', which "
                "reads none, but got some"
            )
        return one_hot(comparison, comparison.positive)


@dataclass(frozen=True)
class Labels:
    """p spread evenly over the other candidates of the anchor's class.

    `targets` are labels (B,). A row whose class occurs once has no positive. It does
    not count, and the mean is over the other rows.
    """

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        return _same(comparison, targets, "labels")


def _same(comparison: Comparison, targets: Tensor | None, what: str) -> Target:
    samples = len(comparison.anchors) // comparison.anchor_views
    labels = targets_given.labels(targets, samples, what)
    own, others = comparison.of_anchors(labels), comparison.of_candidates(labels)
    classes, counts = torch.unique(others, return_counts=True)
    positives = counts[torch.searchsorted(classes, own)]
    if comparison.itself is not None:
        positives = positives - 1
    share = 1 / positives.clamp_min(1).to(comparison.anchors)

    def rows(rows: slice) -> Tensor:
        p = torch.where(own[rows, None] == others, share[rows, None], 0)
        if comparison.itself is not None:
            p.scatter_(1, comparison.itself[rows], 0)
        return p

    return Target(rows, weight=of_counted(comparison, positives > 0))


@dataclass(frozen=True)
class Classes:
    """All of p on the anchor's class; the candidates are prototypes of the classes.

    `targets` are classes (B,), or how often each class goes with the sample (B, C). A
    row of class -100, or without counts, does not count: the mean is over the others.
    """

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        samples, classes = len(comparison.anchors), len(comparison.candidates)
        what = f"classes ({samples},) or counts"
        every = (*targets_given.DENSE, *targets_given.SPARSE)
        given = targets_given.require(targets, f"{what} ({samples}, {classes})", every)
        if given.ndim == 2:
            return self._counts(comparison, given)
        given = targets_given.labels(given, samples, "classes")
        counted = given != IGNORED
        beyond = given[counted & ((given < 0) | (given >= classes))]
        if len(beyond):
            raise ValueError(
                f"Expected `targets` to hold classes in [0, {classes}), or -100 for a "
                f"row without one, but got {int(beyond[0])}"
            )
        weight = of_counted(comparison, counted)
        return one_hot(comparison, given.clamp_min(0).long()[:, None], weight)

    def _counts(self, comparison: Comparison, targets: Tensor) -> Target:
        samples, classes = len(comparison.anchors), len(comparison.candidates)
        counts = targets_given.shares(targets, samples, classes, "counts")
        counts = counts.to_dense().to(comparison.anchors)
        total = counts.sum(dim=1, keepdim=True)
        weight = mean_one(comparison, (total[:, 0] > 0).to(counts))
        p = counts / total.where(total > 0, 1)
        return Target(lambda rows: p[rows].clone(), weight=weight)


@dataclass(frozen=True)
class Itself:
    """All of p on the anchor itself, as in PCA; `targets` are not read."""

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        if comparison.itself is None or comparison.excludes_itself:
            raise ValueError(
                "Expected candidates='with_self', among which the anchor itself is"
            )
        return one_hot(comparison, comparison.itself)


@dataclass(frozen=True)
class Given:
    """p as `targets` give it: rows (A, C) that sum to 1, dense or sparse.

    A is the number of anchors and C of candidates: (B, B) for one view, for two views
    (B, B) across and (2B, 2B) among both.
    """

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        anchors, candidates = len(comparison.anchors), len(comparison.candidates)
        given = targets_given.shares(targets, anchors, candidates, "p")
        tolerance = SUM_TOLERANCE
        if given.is_floating_point():  # half precision rounds more
            tolerance = max(tolerance, torch.finfo(given.dtype).eps)
        given = given.to(comparison.anchors.dtype)
        total = given.sum(dim=1, keepdim=True).to_dense()
        off = (total - 1).abs().argmax()
        if abs(float(total[off]) - 1) > tolerance:
            raise ValueError(
                f"Expected rows of `targets` to sum to 1 but row {int(off)} sums to "
                f"{float(total[off]):g}"
            )

        def rows(rows: slice) -> Tensor:
            p = _dense_rows(given, rows).to(comparison.anchors, copy=True)
            comparison.exclude(p, rows, fill=0)
            kept = p.sum(dim=1, keepdim=True)
            if kept.min() < 1 - 2 * tolerance:
                raise ValueError(
                    "Expected `targets` to give the anchor itself nothing, which is no "
                    f"candidate, but row {rows.start + int(kept.argmin())} does; use "
                    "candidates='with_self'"
                )
            return p.div_(kept.clamp_min_(tiny(p)))

        return Target(rows)


def _dense_rows(matrix: Tensor, rows: slice) -> Tensor:
    if matrix.layout is torch.strided:
        return matrix[rows]
    pointers = matrix.crow_indices()[rows.start : rows.stop + 1]
    entries = slice(int(pointers[0]), int(pointers[-1]))
    return torch.sparse_csr_tensor(
        pointers - pointers[0],
        matrix.col_indices()[entries],
        matrix.values()[entries],
        (len(pointers) - 1, matrix.shape[1]),
    ).to_dense()
