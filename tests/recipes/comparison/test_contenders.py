import pytest

from rkdo_plugin.recipes.comparison.contenders import Contender, contenders_of
from rkdo_plugin.recipes.field.create import FieldSettings
from rkdo_plugin.recipes.training.settings import RunSettings

WRITTEN = {
    "ntxent": {},
    "icon:temperature=.2,debias=1e-1": {
        "loss_options": {"temperature": 0.2, "debias": 0.1}
    },
    "icon:field=hog,field.neighbors=16,field.field-weight=auto": {
        "field": "hog",
        "field_options": {"neighbors": 16, "field_weight": "auto"},
    },
    "icon:field=timm:vit_tiny,recipe.learning-rate=1e-3": {
        "field": "timm:vit_tiny",
        "recipe_options": {"learning_rate": 0.001},
    },
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_word_says_loss_options_and_field(text):
    nothing = {
        "loss_options": {},
        "field": None,
        "field_options": {},
        "recipe_options": {},
    }
    expected = Contender(text, text.partition(":")[0], **(nothing | WRITTEN[text]))
    assert contenders_of(["rkdo", text], "simclr")[1] == expected


def test_options_are_those_of_the_fields_and_runs_settings():
    (_, found) = contenders_of(["rkdo", "icon:field=pca,field.search=sampled"], "byol")
    assert FieldSettings(**found.field_options).search == "sampled"
    assert RunSettings(field=found.field).field == "pca"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("icn", r"no loss named 'icn'.*\(did you mean icon\?\)"),
        ("icon:temperatur=1", r"option of loss icon but got temperatur \(did you mean"),
        ("icon:temperature=warm", "temperature of loss icon to be float but got warm"),
        ("icon:temperature", r"LOSS\[:KEY=VALUE,...\].*but got icon:temperature"),
        ("icon:field.neighbors=4", "field=START beside field.KEY but got icon:field"),
        ("icon:field=hog,field.neighbor=4", "option of the field but got neighbor"),
        ("icon:recipe.num-classes=4", "option of the recipe but got num_classes"),
        ("icon:view.size=4", "recipe.KEY but got view.size"),
        ("icon:field=rows.npy", "rows.npy, which has a row for each image"),
        ("rkdo:", "rkdo: is the same as rkdo"),
        ("icon:debias=0.1,debias=0.2", "Expected debias once but got it twice"),
    ],
)
def test_what_is_not_understood_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        contenders_of(["rkdo", text], "simclr")


def test_one_alone_is_no_comparison():
    with pytest.raises(ValueError, match="`loss` twice or more, to compare, but got 1"):
        contenders_of(["rkdo"], "simclr")
