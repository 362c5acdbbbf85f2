"""Statistics beside SciPy's own and beside naive loops."""

import numpy as np
import pytest
from scipy import stats

from rkdo_plugin.recipes.comparison.statistics import (
    NEVER,
    mean,
    performance_profile,
    probability_of_improvement,
    steps_ratio,
    steps_to,
)


@pytest.fixture
def scores():
    random = np.random.default_rng(1)
    return random.normal(0.90, 0.02, 8), random.normal(0.91, 0.02, 6)


def quantiles(values):
    return np.quantile(values, [0.025, 0.975])


def test_a_mean_has_the_interval_of_resampled_means(scores):
    own, _ = scores
    found = mean(own)
    random = np.random.default_rng(2)
    means = [random.choice(own, len(own)).mean() for _ in range(20_000)]
    assert found.value == pytest.approx(own.mean())
    assert [found.low, found.high] == pytest.approx(quantiles(means), abs=5e-4)


def test_the_probability_of_improvement_is_mann_whitneys_u(scores):
    own, other = np.round(scores[0], 2), np.round(scores[1], 2)  # with ties
    assert np.intersect1d(own, other).size
    found = probability_of_improvement(own, other)
    u = stats.mannwhitneyu(own, other).statistic
    assert found.value == pytest.approx(u / (len(own) * len(other)))
    random = np.random.default_rng(2)
    chances = []
    for _ in range(5000):
        x, y = random.choice(own, len(own)), random.choice(other, len(other))
        wins = sum((a > b) + 0.5 * (a == b) for a in x for b in y)
        chances.append(wins / (len(x) * len(y)))
    assert [found.low, found.high] == pytest.approx(quantiles(chances), abs=0.03)


def test_steps_to_a_score_are_read_off_the_curve():
    steps, curve = np.array([10.0, 20, 40]), np.array([0.5, 0.7, 0.6])
    assert steps_to(0.6, steps, curve) == pytest.approx(15)
    assert steps_to(0.7, steps, curve) == 20
    assert steps_to(0.4, steps, curve) == 10  # or fewer
    assert steps_to(0.71, steps, curve) == np.inf
    fine = np.linspace(10, 40, 30_001)
    for target in (0.51, 0.65, 0.699):
        first = fine[np.interp(fine, steps, curve) >= target][0]
        assert steps_to(target, steps, curve) == pytest.approx(first, abs=2e-3)


def test_the_ratio_of_steps_resamples_the_seeds_of_both_together():
    random = np.random.default_rng(3)
    steps = np.array([10.0, 20, 40])
    luck = random.normal(0, 0.05, (7, 1))  # a seed's own, of both contenders
    baseline = np.array([0.5, 0.6, 0.7]) + luck + random.normal(0, 0.01, (7, 3))
    own = np.array([0.55, 0.68, 0.75]) + luck + random.normal(0, 0.01, (7, 3))
    found = steps_ratio(steps, own, baseline)
    ratios = []
    for _ in range(5000):
        seeds = random.integers(0, 7, 7)
        target = np.mean([baseline[seed][-1] for seed in seeds])
        curve = np.mean([own[seed] for seed in seeds], axis=0)
        ratios.append(steps_to(target, steps, curve) / 40)
    expected = steps_to(baseline[:, -1].mean(), steps, own.mean(axis=0)) / 40
    assert found.value == pytest.approx(expected)
    assert 0.5 < found.value < 0.8
    assert [found.low, found.high] == pytest.approx(quantiles(ratios), abs=0.01)


def test_a_score_that_is_never_reached_is_beyond_one():
    steps, low = [1, 2], np.array([[0.1, 0.2], [0.1, 0.3]])
    assert steps_ratio(steps, low, low + 1) == steps_ratio(steps, low, low + 2)
    assert steps_ratio(steps, low, low + 1).value == NEVER
    assert steps_ratio(steps, low + 1, low).high == 0.5  # at the shortest length
    partly = steps_ratio([1, 2], [[0, 0.3], [0, 0.1]], [[0, 0.2], [0, 0.2]])
    assert (partly.value, partly.high) == (1, NEVER)


def test_a_profile_is_the_share_above_each_threshold(scores):
    thresholds = [0.85, 0.9, 0.92]
    naive = [sum(score > each for score in scores[0]) / 8 for each in thresholds]
    assert performance_profile(scores[0], thresholds).tolist() == naive
    assert performance_profile([0.5], [0.5]).tolist() == [0]


def test_one_seed_has_no_interval():
    one = [mean([0.9]), probability_of_improvement([0.9], [0.8, 0.7])]
    one.append(steps_ratio([1, 2], [[0.1, 0.2]], [[0.1, 0.2]]))
    assert [each.value for each in one] == [0.9, 1, 1]
    assert all(each.low is None and each.high is None for each in one)


def test_an_interval_is_the_same_each_time(scores):
    assert mean(scores[0]) == mean(scores[0])
    assert mean([0.5, 0.5]).low == mean([0.5, 0.5]).high == 0.5
