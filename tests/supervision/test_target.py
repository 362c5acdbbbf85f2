"""P as a whole, of any supervision, against naive loops."""

import math

import pytest
import torch
from small_batch import LABELS, Z1, B, X, matrix

from rkdo_plugin import IConLoss
from rkdo_plugin.supervision import (
    GaussianAffinity,
    Labels,
    Neighbors,
    Perplexity,
    RandomWalk,
    Similarity,
)

SUPERVISIONS = [
    (Labels(), LABELS),
    (Neighbors(2), X),
    (GaussianAffinity(1.5), X),
    (Perplexity(3.0), X),
    (Similarity(2.0), X),
    (RandomWalk(Neighbors(2), steps=3), X),
]


def squares(x, i, j):
    return float((x[i] - x[j]).square().sum())


def softmax(logits):
    weights = [math.exp(value - max(logits.values())) for value in logits.values()]
    return {j: w / sum(weights) for j, w in zip(logits, weights, strict=True)}


def naive_p(supervision, i, others):
    if isinstance(supervision, Labels):
        same = [j for j in others if LABELS[j] == LABELS[i]]
        return {j: (j in same) / len(same) for j in others}
    if isinstance(supervision, Neighbors):
        nearest = sorted(others, key=lambda j: squares(X, i, j))[: supervision.k]
        return {j: (j in nearest) / supervision.k for j in others}
    if isinstance(supervision, GaussianAffinity):
        sigma = supervision.bandwidth
        return softmax({j: -squares(X, i, j) / (2 * sigma**2) for j in others})
    if isinstance(supervision, Similarity):
        tau = supervision.temperature
        return softmax({j: float(X[i] @ X[j]) / tau for j in others})
    low, high = -20.0, 20.0  # of log b, by bisection
    for _ in range(100):
        b = math.exp((low + high) / 2)
        p = softmax({j: -b * squares(X, i, j) for j in others})
        entropy = -sum(q * math.log(q) for q in p.values() if q > 0)
        if entropy > math.log(supervision.perplexity):
            low = math.log(b)
        else:
            high = math.log(b)
    return p


@pytest.mark.parametrize(("supervision", "targets"), SUPERVISIONS[:-1], ids=str)
@pytest.mark.parametrize("debias", [0.0, 0.3])
def test_p_is_that_of_a_naive_loop(supervision, targets, debias):
    p = matrix(supervision, targets, debias=debias)
    for i in range(B):
        others = [j for j in range(B) if j != i]
        expected = naive_p(supervision, i, others)
        for j in range(B):
            mixed = (1 - debias) * expected.get(j, 0) + debias / (B - 1) * (j != i)
            assert p[i, j].item() == pytest.approx(mixed, abs=1e-6)


@pytest.mark.parametrize(
    "supervision", [Neighbors(3), Perplexity(5.0), GaussianAffinity(1e-3)], ids=str
)
def test_near_samples_far_from_the_mean_are_told_apart(supervision):
    """In single precision their squared distances, 1e-6 of 1e4, would be rounding."""
    near = torch.randn(40, 6) * 1e-3
    near[20:] += 100
    z = torch.randn(40, 3)
    found, expected = (
        IConLoss(1.0, supervision)
        .p_and_q(z.to(dtype), None, near.to(dtype), None)[0]
        .rows(slice(0, 40))
        for dtype in (torch.float32, torch.float64)
    )
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("supervision", "targets"), SUPERVISIONS, ids=str)
@pytest.mark.parametrize("candidates", ["all", "cross", "with_self"])
def test_rows_of_p_sum_to_one_and_leave_the_excluded_alone(
    supervision, targets, candidates
):
    if isinstance(supervision, RandomWalk) and candidates == "cross":
        return  # refused: see losses/test_icon.py
    p = matrix(supervision, targets, candidates, z1=Z1)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(len(p)).double())
    assert p.min() >= 0
    if candidates == "all":
        assert p.diagonal().eq(0).all()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_walk_is_a_power_of_the_matrix(steps):
    step = matrix(Neighbors(2), X)
    expected = torch.linalg.matrix_power(step, steps).fill_diagonal_(0)
    expected /= expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(matrix(RandomWalk(Neighbors(2), steps), X), expected)
    whole = matrix(RandomWalk(Neighbors(2), steps), X, candidates="with_self")
    torch.testing.assert_close(whole, torch.linalg.matrix_power(step, steps))
