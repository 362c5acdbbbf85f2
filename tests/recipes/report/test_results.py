import math

import pytest
from report_runs import write_run
from scipy import stats

from rkdo_plugin.recipes.report.collect import collect
from rkdo_plugin.recipes.report.results import results_of

SCORES = {
    "icon": [0.70, 0.71, 0.72, 0.69],
    "rkdo": [0.75, 0.755, 0.775, 0.74],
    "supcon": [0.70, 0.72, 0.71, 0.69],
}


def arms(folder, scores):
    paths = [
        write_run(folder / f"{loss}-{seed}", loss=loss, seed=seed, knn=(0.1, value))
        for loss, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return collect(paths).finished


def test_arms_are_compared_with_the_first_seed_by_seed(tmp_path):
    first, better, alike = results_of(arms(tmp_path, SCORES))
    assert (first.against, first.score.step) == (None, 20)
    expected = stats.ttest_rel(SCORES["rkdo"], SCORES["icon"])
    interval = expected.confidence_interval(0.95)
    against = better.against
    assert (against.low, against.high) == pytest.approx((interval.low, interval.high))
    assert better.p == pytest.approx(2 * expected.pvalue)  # the smaller of two
    assert better.differs
    assert not alike.differs


def test_one_seed_and_no_score(tmp_path):
    first, one, none = results_of(
        arms(tmp_path, {"icon": [0.5, 0.6, 0.7], "rkdo": [0.7]})
        + collect([write_run(tmp_path / "mute", loss="moco", knn=None)]).arms
    )
    assert first.score.low is not None
    assert (one.score.low, one.against.pairs) == (None, 1)
    assert math.isnan(one.p)
    assert not one.differs
    assert (none.score, none.against) == (None, None)
