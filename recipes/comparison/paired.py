"""Paired differences of two contenders over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
FEWEST = 3  # pairs of which an interval is made
ROUNDING = 1e-12  # of the largest score: differences that are the same


@dataclass(frozen=True)
class Difference:
    """How far one contender is from another, over the seeds that both have.

    Attributes:
        mean: Of the differences.
        low: Lower end of the 95 % interval by Student's t; NaN with fewer than 3 seeds,
            or where all differences are the same, which says more of coarse scores than
            of the seeds to come.
        high: Its upper end, likewise.
        p: Two-sided p-value of no difference, likewise.
        pairs: Number of seeds.
    """

    mean: float
    low: float
    high: float
    p: float
    pairs: int


def paired_difference(own: Sequence[float], other: Sequence[float]) -> Difference:
    """The mean of own - other, pair by pair.

    Args:
        own: Scores (n,), one a seed.
        other: The other's scores (n,) at the same seeds.

    Raises:
        ValueError: There is no pair, or the numbers of scores differ.

    Example:
        >>> found = paired_difference([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
        >>> f"{found.mean:.2f}, {found.low:.2f} to {found.high:.2f}, p {found.p:.3f}"
        '0.20, -0.05 to 0.45, p 0.074'
    """
    if len(own) != len(other) or len(own) == 0:
        raise ValueError(
            f"Expected as many scores of both, at least 1, but got {len(own)} and "
            f"{len(other)}"
        )
    differences = np.subtract(own, other).astype(np.float64)
    mean, pairs = float(differences.mean()), len(differences)
    scale = max(np.abs(own).max(), np.abs(other).max())
    error = float(stats.sem(differences)) if pairs >= FEWEST else 0.0
    if error <= ROUNDING * scale:
        return Difference(mean, np.nan, np.nan, np.nan, pairs)
    half = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1))
    p = 2 * float(stats.t.sf(abs(mean) / error, pairs - 1))
    return Difference(mean, mean - half, mean + half, p, pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for the number of tests, by Holm's step-down method.

        p'_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)),    p_(1) <= ... <= p_(m)

    Below 0.05 in all, they are wrong about any of the m tests in at most 5 % of
    families, whatever the tests have to do with each other.

    Args:
        p_values: Those of a family (m,). NaN is no test, and stays NaN.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(len(p), np.nan)
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(np.minimum(1, factors * p[order]))
    return [float(p) for p in corrected]
