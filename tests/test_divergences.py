"""Divergences against scipy, and their slopes against differences."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.special import rel_entr

from rkdo_plugin.divergences import DIVERGENCES, FLOOR

ORACLES = {
    "kl": lambda p, q: rel_entr(p, q).sum(),
    "reverse_kl": lambda p, q: rel_entr(q, p.clip(FLOOR)).sum(),
    "js": lambda p, q: (rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)).sum() / 2,
    "tv": lambda p, q: distance.cityblock(p, q) / 2,
    "hellinger": lambda p, q: distance.euclidean(p**0.5, q**0.5) ** 2 / 2,
}
every_divergence = pytest.mark.parametrize("name", DIVERGENCES)

distributions = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=2, max_size=8
).filter(lambda pairs: sum(p for p, _ in pairs) > 0.1)


def rows(pairs):
    p, q = torch.tensor(pairs, dtype=torch.float64).T
    return (p / p.sum())[None], (q / q.sum())[None]


@every_divergence
@given(pairs=distributions)
def test_the_value_is_that_of_scipy(name, pairs):
    p, q = rows(pairs)
    value, _ = DIVERGENCES[name](p, q.log())
    expected = ORACLES[name](p[0].numpy(), q[0].numpy())
    assert value.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@every_divergence
@given(pairs=distributions)
def test_it_is_at_least_0_and_0_where_the_two_are_one(name, pairs):
    p, q = rows(pairs)
    value, _ = DIVERGENCES[name](p, q.log())
    assert value.item() >= -1e-12
    same, _ = DIVERGENCES[name](q, q.log())
    assert same.item() == pytest.approx(0, abs=1e-12)
    if name in ("tv", "hellinger"):
        assert value.item() <= 1 + 1e-12
    if name == "js":
        assert value.item() <= math.log(2) + 1e-12


@every_divergence
@given(pairs=distributions)
def test_the_slope_is_that_of_differences(name, pairs):
    p, q = rows(pairs)
    log_q = q.log()
    if name == "tv" and (p - q).abs().min() < 1e-4:
        return  # a kink
    _, slope = DIVERGENCES[name](p, log_q)
    for j in range(log_q.shape[1]):
        step = torch.zeros_like(log_q)
        step[0, j] = 1e-6
        above, _ = DIVERGENCES[name](p, log_q + step)
        below, _ = DIVERGENCES[name](p, log_q - step)
        difference = (above - below).item() / 2e-6
        assert slope[0, j].item() == pytest.approx(difference, rel=1e-5, abs=1e-8)


@every_divergence
@pytest.mark.parametrize("p", [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])
@pytest.mark.parametrize("log_q", [[-1e-9, -100.0, -1e18], [-1e18, -0.7, -0.7]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_p_and_no_q_are_finite(name, p, log_q, dtype):
    value, slope = DIVERGENCES[name](
        torch.tensor([p], dtype=dtype), torch.tensor([log_q], dtype=dtype)
    )
    assert value.isfinite().all()
    assert slope.isfinite().all()
