"""Statistics of a comparison: pure functions of scores, with bootstrap intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 9999
NEVER = 2.0  # longest runs: stands for "not within them", so that intervals exist

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % percentile bootstrap interval over seeds.

    Attributes:
        value: The figure.
        low: Lower end; None where there is one seed only.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None


def mean(scores: ArrayLike) -> Estimate:
    """The mean of scores (S,), one a seed."""
    return _estimate([np.asarray(scores)], np.mean)


def probability_of_improvement(own: ArrayLike, other: ArrayLike) -> Estimate:
    """The probability that a run of one contender scores higher than one of another.

        P(X > Y) + P(X = Y) / 2

    over all pairs of runs: Mann-Whitney's U, as a fraction.

    Args:
        own: Scores X (S,).
        other: Scores Y (T,).
    """
    return _estimate([np.asarray(own), np.asarray(other)], _chance)


def steps_ratio(steps: ArrayLike, own: ArrayLike, baseline: ArrayLike) -> Estimate:
    """Steps to the baseline's final score, as a fraction of the baseline's steps.

    The score is that of mean curves, and linear between two lengths. Seeds are
    resampled for both contenders together.

    Args:
        steps: Steps (L,) of the lengths, rising.
        own: Scores (S, L) of the seeds at these lengths.
        baseline: Scores (S, L) of the same seeds.

    Returns:
        `NEVER`, or an end above 1, where the longest runs do not reach it. The fraction
        of the shortest length where that reaches it, which is then an upper bound.
    """
    x, own, baseline = (np.asarray(each, float) for each in (steps, own, baseline))

    def ratio(seeds: Any, axis: int = -1) -> Any:
        # (..., S) -> (..., S, L) -> (..., L)
        curves, targets = own[seeds].mean(axis=-2), baseline[seeds, -1].mean(axis=-1)
        flat = zip(curves.reshape(-1, len(x)), np.ravel(targets), strict=True)
        reached = [steps_to(target, x, curve) / x[-1] for curve, target in flat]
        return np.reshape(np.minimum(reached, NEVER), np.shape(targets))

    return _estimate([np.arange(len(own))], ratio)


def steps_to(target: float, steps: Array, scores: Array) -> float:
    """Where a curve first reaches a score, by linear interpolation; else infinity.

    Args:
        target: The score.
        steps: Steps (L,), rising.
        scores: Scores (L,).

    Example:
        >>> steps_to(0.75, np.array([10.0, 20.0, 40.0]), np.array([0.25, 0.5, 1.0]))
        30.0
    """
    (reached,) = np.nonzero(scores >= target)
    if len(reached) == 0:
        return float("inf")
    after = reached[0]
    if after == 0:
        return float(steps[0])
    before = after - 1
    share = (target - scores[before]) / (scores[after] - scores[before])
    return float(steps[before] + share * (steps[after] - steps[before]))


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """The fraction of runs that score above each threshold.

    Args:
        scores: Scores (S,).
        thresholds: Thresholds (T,).

    Returns:
        Fractions (T,).
    """
    above = np.asarray(scores)[:, None] > np.asarray(thresholds)
    fractions: Array = above.mean(axis=0)
    return fractions


def _chance(own: Any, other: Any, axis: int = -1) -> Any:
    x, y = own[..., :, None], other[..., None, :]
    return ((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1))


def _estimate(samples: Sequence[NDArray[Any]], figure: Callable[..., Any]) -> Estimate:
    """A figure of samples with its interval; the same each time."""
    value = float(figure(*samples))
    if min(map(len, samples)) < 2:
        return Estimate(value)
    found = stats.bootstrap(
        samples,
        figure,
        n_resamples=RESAMPLES,
        batch=1000,
        vectorized=True,
        axis=-1,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    return Estimate(value, float(found.low), float(found.high))
