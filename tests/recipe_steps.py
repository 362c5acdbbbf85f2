"""A few training steps of a recipe on random images."""

import pytorch_lightning as pl
import torch
from quiet_trainer import trainer
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

STEPS = 4
LEARNING_RATE = 0.05
VIEWS = [torch.rand(8, 3, 32, 32), torch.rand(8, 3, 32, 32)]
LABELS = torch.zeros(8)


def batches(views=2):
    """Of 16 grey images, of which the views from the third on are small."""
    random = torch.Generator().manual_seed(5)
    sizes = [28, 28] + [14] * (views - 2)
    return [
        [torch.rand(16, 1, size, size, generator=random) for size in sizes]
        for _ in range(STEPS)
    ]


def labelled_batches():
    """Two views in float64, labels of which every fourth is hidden, and indices."""
    labels = torch.tensor([0, 1, 2, -1] * 4)
    return [
        [[view.double() for view in views], labels, torch.arange(16) + 16 * number]
        for number, views in enumerate(batches())
    ]


def fit(recipe, batches, *callbacks, **options):
    run = trainer(*callbacks, **{"max_epochs": 1} | options)
    run.fit(recipe, DataLoader(batches, batch_size=None))


def fit_by_sgd(recipe, batches, *callbacks, **options):
    """Without momentum or schedule, so that an oracle can take the same steps."""
    recipe.configure_optimizers = lambda: torch.optim.SGD(
        [p for p in recipe.parameters() if p.requires_grad], LEARNING_RATE
    )
    fit(recipe, batches, *callbacks, **options)


class Losses(pl.Callback):
    """The loss of every step."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, module, outputs, *rest):
        self.values.append(float(outputs["loss"]))


class Scaled(nn.Module):
    """A criterion with a parameter of its own, that remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.calls = []

    def forward(self, z0, z1):
        self.calls.append((z0, z1))
        return self.scale * functional.mse_loss(z0, z1)
