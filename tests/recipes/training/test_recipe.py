"""A run's recipe knows what the settings say and what the data decides."""

import pytest

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.training.recipe import recipe_of, record_of
from rkdo_plugin.recipes.training.settings import RunSettings

DIGITS = load_data("digits", limit=100, seed=3, image_size=(32, 16))


def test_a_recipe_knows_the_data():
    settings = recipe_of(RunSettings(), DIGITS, 1, resumed=False).settings
    assert (settings.in_channels, settings.image_size) == (1, (32, 16))
    assert (settings.num_classes, settings.num_samples) == (10, 100)


@pytest.mark.parametrize(("processes", "gathers"), [(1, False), (2, True)])
def test_losses_of_several_processes_compare_across_them(processes, gathers):
    recipe = recipe_of(RunSettings(loss="rkdo"), DIGITS, processes, resumed=False)
    options = recipe.settings.loss_options or {}
    assert options.get("gather_distributed", False) is gathers


def test_a_resumed_run_needs_no_first_weights(tmp_path):
    settings = RunSettings(weights=str(tmp_path / "gone.pth"))
    with pytest.raises(FileNotFoundError, match="gone"):
        recipe_of(settings, DIGITS, 1, resumed=False)
    assert recipe_of(settings, DIGITS, 1, resumed=True).settings.weights is None


def test_a_record_holds_what_an_export_needs():
    settings = RunSettings(limit=100, seed=3, image_size="32x16")
    recipe = recipe_of(settings, DIGITS, 1, resumed=False)
    record = record_of(settings, recipe, DIGITS)
    assert (record["limit"], record["seed"], record["image_size"]) == (100, 3, (32, 16))
    assert (record["encoder"], record["in_channels"]) == ("small-convnet", 1)
