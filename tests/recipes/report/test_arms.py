import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import write_run
from scipy import stats

from rkdo_plugin.recipes.report.arms import arms_of, mean_point, names_of
from rkdo_plugin.recipes.report.runs import read_found_run


@pytest.fixture
def runs(tmp_path):
    """Runs by the settings in which they differ from others."""

    def read(*settings):
        start = len(list(tmp_path.iterdir()))
        return [
            read_found_run(write_run(tmp_path / f"run-{start + n}", **each))
            for n, each in enumerate(settings)
        ]

    return read


@given(st.lists(st.decimals(-100, 100, places=4).map(float), min_size=3, max_size=9))
def test_intervals_are_scipys(values):
    point = mean_point(3, values)
    assert point.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (point.step, point.seeds) == (3, len(values))
    if np.ptp(values) < 1e-6:  # equal values say nothing of seeds to come
        return
    error = stats.sem(values)
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
    assert (point.low, point.high) == pytest.approx((low, high), abs=1e-9)


@pytest.mark.parametrize("values", [[0.5], [0.25, 0.75], [0.5, 0.5, 0.5]])
def test_no_interval_is_invented_for_few_seeds_or_equal_values(values):
    point = mean_point(3, values)
    assert (point.mean, point.low, point.high) == (0.5, None, None)
    assert point.seeds == len(values)


def test_runs_that_differ_in_the_seed_alone_are_one_arm(runs):
    knn = {0: (0.5, 0.6), 1: (0.7, 0.8), 2: (0.6, 0.7)}
    found = arms_of(
        runs(
            *({"seed": seed, "knn": values} for seed, values in knn.items()),
            {"seed": 0, "loss": "rkdo"},
        )
    )
    assert [arm.name for arm in found] == ["icon", "rkdo"]
    assert [run.seed for run in found[0].runs] == [0, 1, 2]
    curve = found[0].curve("knn")
    columns = np.array([*knn.values()]).T
    assert [p.mean for p in curve] == pytest.approx(columns.mean(axis=1))
    expected = stats.t.interval(0.95, 2, columns[1].mean(), stats.sem(columns[1]))
    assert (curve[1].low, curve[1].high) == pytest.approx(expected)
    assert found[0].last("knn") == {0: 0.6, 1: 0.8, 2: 0.7}
    assert found[0].curve("nothing") == []


def test_a_step_that_one_seed_lacks_is_a_mean_of_the_others(runs):
    (arm,) = arms_of(runs({"seed": 0, "knn": (0.5, 0.6)}, {"seed": 1, "knn": (0.7,)}))
    assert [point.seeds for point in arm.curve("knn")] == [2, 1]


def test_a_crashed_run_among_good_ones_counts_in_no_mean(runs):
    good = [{"seed": 0, "knn": (0.5, 0.6)}, {"seed": 1, "knn": (0.5, 0.8)}]
    found = arms_of(runs(*good, {"seed": 2, "knn": (0.1,), "done": 1}))
    assert [(arm.name, arm.finished) for arm in found] == [
        ("icon", True),
        ("run-2, 1 of 2 epochs", False),
    ]
    assert [p.mean for p in found[0].curve("knn")] == pytest.approx([0.5, 0.7])


def test_crashed_runs_in_folders_of_one_name_stay_apart(tmp_path):
    folders = [tmp_path / part / "run" for part in ("x", "y")]
    for folder in folders:
        folder.parent.mkdir()
    found = arms_of([read_found_run(write_run(folder, done=1)) for folder in folders])
    assert len({arm.name for arm in found}) == 2


def test_a_recipes_own_loss_is_no_name_beside_the_recipes():
    settings = [{"recipe": "simclr", "epochs": 2}, {"recipe": "byol", "epochs": 2}]
    assert names_of(settings) == ["simclr", "byol"]


def test_the_same_run_twice_is_refused(runs):
    with pytest.raises(ValueError, match="together they would pass for two seeds"):
        arms_of(runs({"seed": 3}, {"seed": 3}))


def test_losses_compare_where_the_objective_is_the_same(runs):
    icon, longer, warmer, rkdo, larger = arms_of(
        runs(
            {},
            {"epochs": 1},
            {"loss_options": {"temperature": 0.2}},
            {"loss": "rkdo"},
            {"batch_size": 128},
        )
    )
    assert icon.objective == longer.objective
    others = {warmer.objective, rkdo.objective, larger.objective}
    assert len(others | {icon.objective}) == 4


def test_names_are_the_first_differences_that_suffice():
    base = {"recipe": "simclr", "loss": "icon", "epochs": 5}
    field = base | {"field": "hog", "field.neighbors": 8}
    cold = base | {"loss.temperature": 0.2}
    warm = base | {"loss.temperature": 0.5}
    assert names_of([base]) == ["icon"]
    assert names_of([base, field]) == ["icon", "icon, field hog"]
    assert names_of([cold, warm]) == [
        "icon, loss.temperature 0.2",
        "icon, loss.temperature 0.5",
    ]
    byol = base | {"recipe": "byol"}
    assert names_of([base, byol]) == ["icon, simclr", "icon, byol"]
    rkdo = warm | {"loss": "rkdo"}
    assert names_of([warm, rkdo]) == ["icon", "rkdo"]
    assert names_of([cold, warm, rkdo]) == [
        "icon, loss.temperature 0.2",
        "icon, loss.temperature 0.5",
        "rkdo, loss.temperature 0.5",
    ]
