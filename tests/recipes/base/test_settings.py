"""Settings of recipes, and those out of range."""

import pytest
from runs import train
from torch import nn

from rkdo_plugin.recipes.base.settings import RecipeSettings, as_settings
from rkdo_plugin.recipes.cluster import ClusterSettings


def test_settings_are_an_instance_a_mapping_or_the_defaults():
    settings = ClusterSettings(clusters=7)
    assert as_settings(settings, ClusterSettings) is settings
    assert as_settings({"clusters": 7}, ClusterSettings) == settings
    assert as_settings(None, ClusterSettings) == ClusterSettings()


def test_another_recipes_settings_are_refused():
    message = "`settings` to be ClusterSettings but got RecipeSettings"
    with pytest.raises(TypeError, match=message):
        as_settings(RecipeSettings(), ClusterSettings)
    with pytest.raises(TypeError, match="clusters"):
        as_settings({"clusters": 7}, RecipeSettings)


def test_a_checkpoint_holds_names_and_no_modules():
    plain = RecipeSettings(encoder=nn.Identity(), loss="icon").plain()
    assert "encoder" not in plain
    assert plain["loss"] == "icon"


@pytest.mark.parametrize("labelled", [0.0, -0.1, 1.5])
@pytest.mark.parametrize("name", ["mean-teacher", "temporal-ensembling"])
def test_a_share_of_labels_that_is_none(name, labelled, tmp_path, settings):
    options = {"recipe_options": {"labelled": labelled}}
    with pytest.raises(ValueError, match=rf"`labelled` .* \(0, 1\] but got {labelled}"):
        train(name, out=str(tmp_path / "run"), **settings, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nnclr", {"queue": 0}, "`queue` to be at least 1 but got 0"),
        ("dino", {"prototypes": 0}, "`prototypes`"),
        ("dino", {"local_views": -1}, "`local_views` to be at least 0 but got -1"),
        ("mean-teacher", {"momentum": 1.0}, r"`momentum` .* \[0, 1\) but got 1.0"),
        ("temporal-ensembling", {"momentum": 1.0}, r"`momentum` .* but got 1.0"),
        ("mean-teacher", {"consistency": -1.0}, "`consistency` .* got -1.0"),
        ("simclr", {"learning_rate": -1.0}, "`learning_rate` to be .* but got -1.0"),
        ("simclr", {"learning_rate": 0.0}, "`learning_rate` to be .* but got 0.0"),
        ("byol", {"weight_decay": -0.1}, "`weight_decay` .* at least 0, but got -0.1"),
        ("dino", {"weight_decay": -0.1}, "`weight_decay` .* at least 0, but got -0.1"),
        ("cluster", {"learning_rate": -1.0}, "`learning_rate` to be .* got -1.0"),
        ("nnclr", {"learning_rate": -1.0}, "`learning_rate` to be .* got -1.0"),
        ("mean-teacher", {"learning_rate": -1.0}, "`learning_rate` .* got -1.0"),
        ("simclr", {"optimizer": "adam"}, "`optimizer` to be one of .* got 'adam'"),
    ],
)
def test_options_outside_their_range(name, options, message, tmp_path, settings):
    with pytest.raises(ValueError, match=message):
        train(
            name,
            out=str(tmp_path / "run"),
            workers=0,
            recipe_options=options,
            **settings,
        )
