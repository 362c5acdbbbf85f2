import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rkdo_plugin.recipes.comparison.paired import holm, paired_difference

SCORES = st.floats(-1e3, 1e3).map(lambda score: round(score, 6))


@given(st.lists(st.tuples(SCORES, SCORES), min_size=3, max_size=8))
def test_differences_are_those_of_scipys_paired_t_test(pairs):
    own, other = np.array(pairs).T
    found = paired_difference(own, other)
    if np.ptp(own - other) < 1e-6:
        return
    expected = stats.ttest_rel(own, other)
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(np.mean(own - other), rel=1e-9, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ([0.5], [0.25]),
        ([0.5, 0.8], [0.25, 0.5]),
        ([0.75, 0.76, 0.8], [0.7, 0.71, 0.75]),  # the same but for rounding
    ],
)
def test_few_pairs_and_equal_differences_prove_nothing(own, other):
    found = paired_difference(own, other)
    assert found.mean == pytest.approx(np.mean(own) - np.mean(other))
    assert found.pairs == len(own)
    assert all(map(math.isnan, (found.low, found.high, found.p)))


@pytest.mark.parametrize(("own", "other"), [([], []), ([1, 2], [1])])
def test_scores_without_partners_are_refused(own, other):
    with pytest.raises(ValueError, match="as many scores of both, at least 1, but got"):
        paired_difference(own, other)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(1e-3, 1))
def test_holm_refuses_what_its_steps_refuse(p_values, level):
    """Step down from the smallest: the k-th of m is refused at level / (m - k)."""
    refused = set()
    for k, test in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[test] * (len(p_values) - k) > level:
            break
        refused.add(int(test))
    found = {i for i, p in enumerate(holm(p_values)) if p <= level}
    assert found == (refused if level < 1 else set(range(len(p_values))))


def test_holm_passes_over_what_is_no_test():
    first, none, last = holm([0.01, math.nan, 0.04])
    assert (first, last) == pytest.approx((0.02, 0.04))
    assert math.isnan(none)
