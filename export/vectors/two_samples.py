"""Statistics of two samples, for many divisions of their items at once."""

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.export.vectors.progress import watched

NEIGHBOUR = 5  # whose distance says how far an image lies from the reference
DEPTH = 64  # nearest items among which the fifth of a part is looked for first
ROUNDING = 1e-12  # of sums that are equal
Members = NDArray[np.bool_]


def median_distance(distances: NDArray[np.float64]) -> float:
    """Median of the distances of all pairs; 1 where that is 0."""
    pairs = distances[np.triu_indices(len(distances), k=1)]
    return float(np.median(pairs)) or 1.0


def mmd(kernel: NDArray[np.float64], members: Members) -> NDArray[np.float64]:
    """Squared maximum mean discrepancies, unbiased, of several divisions.

    Args:
        kernel: k of all pairs (M, M).
        members: In each division, whether an item is in the second part (P, M). All
            divisions have parts of the same sizes.

    Returns:
        One for each division (P,).
    """
    second, itself = members.astype(np.float64), np.diag(kernel)
    size = members[0].sum()
    rest = len(kernel) - size
    sums = kernel.sum(axis=1) - itself
    inside = ((second @ kernel) * second).sum(axis=1) - second @ itself
    across = second @ sums - inside
    other = sums.sum() - inside - 2 * across
    return np.asarray(
        inside / (size * (size - 1))
        + other / (rest * (rest - 1))
        - 2 * across / (size * rest)
    )


def neighbour_distances(
    distances: NDArray[np.float64], members: Members
) -> NDArray[np.float64]:
    """Mean distances to the fifth nearest item of the first part, of several divisions.

    Args:
        distances: Of all pairs (M, M).
        members: In each division, whether an item is in the second part (P, M).

    Returns:
        Of the items of the second part, and of the first part (P, 2).
    """
    others = distances.copy()
    np.fill_diagonal(others, np.inf)  # no item is its own neighbour
    order = others.argsort(axis=1).astype(np.int32)
    others.sort(axis=1)
    means = np.empty((len(members), 2))
    for row, second in enumerate(watched(members, "shuffles", len(members))):
        depth, reached = DEPTH, np.zeros(0, np.bool_)
        while not reached.size or not reached[:, -1].all():
            inside = ~second[order[:, :depth]]
            reached = inside.cumsum(axis=1, dtype=np.int32) >= NEIGHBOUR
            depth *= 2
        fifth = others[np.arange(len(others)), reached.argmax(axis=1)]
        means[row] = fifth[second].mean(), fifth[~second].mean()
    return means


def p_value(statistics: NDArray[np.float64]) -> float:
    """Of the first statistic among those of the shuffles, which follow it."""
    no_less = statistics[1:] >= statistics[0] - ROUNDING
    return float((1 + no_less.sum()) / len(statistics))
