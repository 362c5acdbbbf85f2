import pytest
import torch
from runs import assert_equal, state, train
from tiny_recipes import filled_field

from rkdo_plugin import FieldPairs
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.held import hold
from rkdo_plugin.recipes.training.batches import TwoViews
from rkdo_plugin.recipes.training.held import HeldBatches
from rkdo_plugin.recipes.training.loader import StepLoader
from rkdo_plugin.recipes.views.transforms import raw_image


@pytest.mark.parametrize("with_field", [False, True])
@pytest.mark.parametrize("workers", [0, 1])
def test_whole_batches_are_those_of_images_one_by_one(with_field, workers):
    images = hold(load_data("digits", limit=60)).train
    data = load_data("digits", limit=60)
    field = filled_field(60) if with_field else None
    raw = raw_image(data, copies=2 if with_field else 1)
    samples = FieldPairs(data.train, raw, field) if field else TwoViews(data.train, raw)
    loaders = [
        StepLoader(each, 16, 3, workers, field=field)
        for each in (HeldBatches(images), samples)
    ]
    for _ in range(2):
        for found, expected in zip(*loaders, strict=True):
            assert_equal([*found], [*expected])


FIELD = {"loss": "icon", "field": "pixels", "field_options": {"field_weight": 1.0}}


@pytest.mark.parametrize("options", [{}, FIELD])
def test_a_run_on_held_images_is_the_same_run(tmp_path, options):
    torch.set_num_threads(1)
    options = options | {
        "epochs": 2,
        "limit": 128,
        "batch_size": 64,
        "augment": "batches",
    }
    held = hold(load_data("digits", limit=128))
    for name, images in (("read", None), ("held", held)):
        train(out=tmp_path / name, images=images, workers=0, **options)
    assert_equal(state(tmp_path / "read"), state(tmp_path / "held"))
