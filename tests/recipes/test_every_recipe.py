"""What holds for every recipe: exact resume, precisions, losses, exports."""

import os
import signal

import pytest
import pytorch_lightning as pl
from runs import assert_equal, state, train

from rkdo_plugin import create_recipe
from rkdo_plugin.export import freeze

RECIPES = {
    "simclr": {},
    "byol": {},
    "moco": {"loss_options": {"memory_bank_size": (100, 128)}},  # no multiple of 64
    "simsiam": {},
    "nnclr": {"recipe_options": {"queue": 150}},
    "vicreg": {},
    "barlowtwins": {},
    "supcon": {},
    "dino": {"recipe_options": {"prototypes": 40, "local_views": 1}},
    "mean-teacher": {"recipe_options": {"labelled": 0.3}},
    "temporal-ensembling": {"recipe_options": {"labelled": 0.3}},
}
CASES = {
    **{name: {"recipe": name, **options} for name, options in RECIPES.items()},
    "batches": {"recipe": "simclr", "augment": "batches"},
    "batches-dino": {"recipe": "dino", "augment": "batches", **RECIPES["dino"]},
    "batches-field": {"recipe": "byol", "augment": "batches", "field": "pixels"},
    "accumulate": {"recipe": "byol", "accumulate": 2},
    "supcon-field": {"recipe": "supcon", "field": "pixels"},
    "ensembling-field": {
        "recipe": "temporal-ensembling",
        "field": "one-hot",
        "field_options": {"warmup_epochs": 1},
        **RECIPES["temporal-ensembling"],
    },
    "bf16": {"recipe": "simclr", "precision": "bf16-mixed"},
    "sgd": {"recipe": "simclr", "recipe_options": {"optimizer": "sgd"}},
    "lars": {"recipe": "simclr", "recipe_options": {"optimizer": "lars"}},
}


class Stop(pl.Callback):
    """Asks for a stop, as Ctrl-C does, in a batch of a given number."""

    def __init__(self, batch):
        self.batch = batch
        self.seen = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.seen == self.batch:
            os.kill(os.getpid(), signal.SIGINT)
        self.seen += 1


@pytest.mark.parametrize("name", CASES)
def test_interrupted_and_resumed_equals_uninterrupted(name, tmp_path, settings):
    run = {**settings, **CASES[name], "epochs": 2, "workers": 0}
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(out=str(whole), **run)
    with pytest.raises(KeyboardInterrupt):
        # Where two batches make a step, that of the second one ends first.
        train(out=str(stopped), callbacks=[Stop(4)], **run)
    assert state(stopped)["global_step"] < state(whole)["global_step"]
    train(out=str(stopped), resume=True, **run)
    assert_equal(state(stopped), state(whole))
    assert (stopped / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_in_bfloat16(name, tmp_path, settings):
    run = {**settings, **RECIPES[name], "epochs": 1, "limit": 192}
    train(name, out=str(tmp_path), workers=0, precision="bf16-mixed", **run)
    for key, value in state(tmp_path)["state_dict"].items():
        assert value.isfinite().all(), key


@pytest.mark.parametrize("loss", ["icon", "rkdo", "vicreg", "barlowtwins"])
@pytest.mark.parametrize("name", [name for name in RECIPES if name != "dino"])
def test_two_tensor_recipes_take_any_two_tensor_loss(name, loss, tmp_path, settings):
    options = {k: v for k, v in RECIPES[name].items() if k != "loss_options"}
    run = {**settings, **options, "epochs": 1, "limit": 128}
    done = train(name, loss, out=str(tmp_path), workers=0, **run)
    assert type(done.recipe.criterion) is type(create_recipe(name, loss=loss).criterion)
    assert state(tmp_path)["global_step"] > 0


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_exported_is_the_encoder_to_use(name, tmp_path, settings):
    run = {**settings, **RECIPES[name], "epochs": 1, "limit": 128}
    done = train(name, out=str(tmp_path), workers=0, **run)
    teacher = name in ("dino", "mean-teacher")
    branch = "teacher_backbone" if teacher else "backbone"
    expected = getattr(done.recipe, branch)
    assert done.recipe.backbone is expected
    frozen = freeze(done.checkpoint).backbone.state_dict()
    assert_equal(dict(frozen), dict(expected.state_dict()))
