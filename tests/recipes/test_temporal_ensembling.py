import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from oracles import consistency_weight, labelled_cross_entropy
from recipe_steps import STEPS, Losses, fit_by_sgd, labelled_batches
from scipy.special import softmax

from rkdo_plugin import create_recipe


def test_temporal_ensembling_is_the_formula():
    torch.manual_seed(0)
    options = {"num_classes": 3, "num_samples": 64, "consistency": 7.0, "momentum": 0.6}
    recipe = create_recipe(
        "temporal-ensembling", in_channels=1, image_size=28, **options
    ).double()
    said = []
    recipe.head.register_forward_hook(lambda head, x, z: said.append(z.detach()))
    data = labelled_batches()
    losses = Losses()
    fit_by_sgd(recipe, data, losses, max_epochs=3)

    z, step = np.zeros((64, 3)), 0
    for epoch in range(3):
        now = np.zeros((64, 3))
        for _, labels, index in data:
            p = softmax(said[step].numpy(), axis=1)
            target = z[index] / (1 - 0.6**epoch) if epoch else p
            weight = 7 * consistency_weight(step, 3 * STEPS)
            value = labelled_cross_entropy(p, labels.tolist())
            value += weight * ((p - target) ** 2).mean()
            assert losses.values[step] == pytest.approx(value, abs=1e-12)
            now[index] = p
            step += 1
        z = 0.6 * z + (1 - 0.6) * now
    np.testing.assert_allclose(recipe.ensemble.numpy(), z, atol=1e-12)


def test_samples_that_an_epoch_leaves_out_keep_their_ensemble():
    recipe = create_recipe(
        "temporal-ensembling", num_classes=2, num_samples=3, momentum=0.5
    )
    recipe.trainer = pl.Trainer(accelerator="cpu", logger=False)
    said = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    recipe.note(torch.tensor([0, 2]), said)
    recipe.on_train_epoch_end()
    recipe.note(torch.tensor([0]), said[1:])
    recipe.on_train_epoch_end()
    now = torch.full((3, 2), 0.5)
    target = recipe.target(torch.arange(3), now)
    first = (0.25 * said[0] + 0.5 * said[1]) / 0.75
    torch.testing.assert_close(target, torch.stack([first, now[1], said[1]]))
