"""Which parameters are decayed, and the learning rate of every step."""

import math

import pytest
import pytorch_lightning as pl
from recipe_steps import LABELS, VIEWS, fit

from rkdo_plugin import create_recipe


class Rates(pl.Callback):
    """The learning rate of every step."""

    def __init__(self):
        self.values = []

    def on_train_batch_start(self, trainer, *rest):
        (optimizer,) = trainer.optimizers
        self.values.append([group["lr"] for group in optimizer.param_groups])


@pytest.mark.parametrize("name", ["adamw", "lars", "sgd"])
def test_matrices_and_kernels_are_decayed_and_nothing_else(name):
    recipe = create_recipe("simclr", optimizer=name, weight_decay=0.3)
    decays = {}

    class Groups(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            (optimizer,) = trainer.optimizers
            for group in optimizer.param_groups:
                decays.update(dict.fromkeys(group["params"], group["weight_decay"]))

    fit(recipe, [[VIEWS, LABELS]], Groups())
    expected = {p: 0.3 if p.ndim > 1 else 0.0 for p in recipe.parameters()}
    assert decays == expected


def test_the_learning_rate_rises_for_a_tenth_of_the_steps_and_falls_along_a_cosine():
    rates = Rates()
    fit(create_recipe("simclr", learning_rate=0.5), [[VIEWS, LABELS]] * 20, rates)
    expected = [0.25, 0.5]
    for step in range(18):
        cosine = (1 + math.cos(math.pi * step / 17)) / 2
        expected.append(0.5 * (0.001 + 0.999 * cosine))
    for rate, of_step in zip(rates.values, expected, strict=True):
        assert rate == pytest.approx([of_step, of_step])
