from itertools import product

import pytest

from rkdo_plugin.recipes.comparison.contenders import contenders_of
from rkdo_plugin.recipes.comparison.grid import (
    Point,
    best_of,
    grid_of,
    run_settings,
    tuning_runs,
)
from rkdo_plugin.recipes.comparison.settings import ComparisonSettings
from rkdo_plugin.recipes.training.settings import RunSettings

SETTINGS = ComparisonSettings(
    budget=100,
    temperatures=[0.5, 1, 2],
    learning_rates=[1, 2],
    batch_size=32,
    limit=99,
    precision="bf16-mixed",
)


def contender(text):
    return contenders_of(["barlowtwins", text], "simclr")[1]


@pytest.mark.parametrize(
    ("text", "temperatures", "rates"),
    [
        ("ntxent", [0.25, 0.5, 1.0], [0.004, 0.008]),
        ("supcon", [0.05, 0.1, 0.2], [0.004, 0.008]),
        ("vicreg", [None], [0.004, 0.008]),
        ("ntxent:temperature=0.3", [None], [0.004, 0.008]),
        ("ntxent:recipe.learning-rate=1", [0.25, 0.5, 1.0], [None]),
    ],
)
def test_a_grid_is_multiples_of_what_is_not_set(text, temperatures, rates):
    expected = [Point(*each) for each in product(temperatures, rates)]
    assert grid_of(contender(text), SETTINGS) == expected


def test_a_run_has_the_options_of_its_contender_and_its_point():
    text = "icon:debias=0.1,field=hog,field.neighbors=4,recipe.weight-decay=0.1"
    found = run_settings(SETTINGS, contender(text), Point(0.2, 0.001), 7, 3)
    assert found == RunSettings(
        recipe="simclr",
        recipe_options={"weight_decay": 0.1, "learning_rate": 0.001},
        loss="icon",
        loss_options={"debias": 0.1, "temperature": 0.2},
        data="digits",
        field="hog",
        field_options={"neighbors": 4},
        epochs=7,
        batch_size=32,
        limit=99,
        augment="batches",
        precision="bf16-mixed",
        seed=3,
    )


def test_what_a_contender_sets_is_not_tuned():
    text = "icon:temperature=0.3,recipe.learning-rate=0.1"
    (point,) = grid_of(contender(text), SETTINGS)
    found = run_settings(SETTINGS, contender(text), point, 1, 0)
    assert found.loss_options == {"temperature": 0.3}
    assert found.recipe_options == {"learning_rate": 0.1}


def test_the_seeds_of_the_tuning_are_none_of_the_result():
    runs = tuning_runs(SETTINGS, contender("icon"), Point(0.2, 0.001), 2)
    assert [run.settings.seed for run in runs] == [1000, 1001]
    assert {run.purpose for run in runs} == {"tuning"}
    assert not {run.settings.seed for run in runs} & {*range(SETTINGS.seeds)}


def test_the_best_point_has_the_highest_mean_and_no_failure():
    rows = {
        Point(1, 1): [{"score": 0.5}, {"score": 0.7}],
        Point(1, 2): [{"score": 0.9}, {"error": "lost"}],
        Point(2, 1): [{"score": 0.61}, {"score": 0.61}],
        Point(2, 2): [{"score": 0.62}, {"score": 0.60}],
    }
    assert best_of(rows) == Point(2, 1)
    assert best_of({Point(1, 2): rows[Point(1, 2)]}) is None
