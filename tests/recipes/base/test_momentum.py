"""Momentum copies move along with optimizer steps."""

import numpy as np
import pytorch_lightning as pl
import torch
from lightly.utils.scheduler import cosine_schedule
from recipe_steps import LABELS, VIEWS, batches, fit, fit_by_sgd

from rkdo_plugin import create_recipe


def test_byol_targets_are_a_moving_average():
    torch.manual_seed(0)
    recipe = create_recipe("byol")
    history = [recipe.backbone.layers[0][0].weight.detach().clone()]

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *rest):
            history.append(recipe.backbone.layers[0][0].weight.detach().clone())

    fit(recipe, [[VIEWS, LABELS]] * 4, Record())
    average = history[0]
    for step, weight in enumerate(history[:4]):
        # 0.99 rises to 1 along a cosine over the four steps.
        momentum = 1 - 0.01 * (np.cos(np.pi * step / 3) + 1) / 2
        average = momentum * average + (1 - momentum) * weight
    torch.testing.assert_close(recipe.backbone_momentum.layers[0][0].weight, average)


def test_momentum_follows_optimizer_steps_and_not_batches():
    torch.manual_seed(0)
    recipe = create_recipe("moco", in_channels=1, image_size=28)
    weight = recipe.backbone.layers[0][0].weight
    history = [weight.detach().clone()]

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if batch_idx % 2:
                history.append(weight.detach().clone())

    data = [[views, torch.zeros(16)] for views in batches()]
    fit_by_sgd(recipe, data, Record(), accumulate_grad_batches=2)
    average = history[0]
    for step, now in enumerate(history[:2]):  # 4 batches are 2 steps
        momentum = cosine_schedule(step, 2, 0.99, 1)
        average = momentum * average + (1 - momentum) * now
    copied = recipe.backbone_momentum.layers[0][0].weight
    torch.testing.assert_close(copied, average)
