"""Lightly's ways to call a two-tensor criterion, on a recipe of two linear layers.

Spawned processes import them by name.
"""

import pytorch_lightning as pl
import torch
from numbered_samples import Numbers, views
from pytorch_lightning.loggers.logger import Logger
from torch import nn
from torch.utils.data import DataLoader

from rkdo_plugin import FieldPairs, ResponseField

DIM = 4


def simclr(recipe, z, p):
    return recipe.criterion(recipe.note(0, z), recipe.note(1, z))


def moco(recipe, z, p):
    return recipe.criterion(recipe.note(0, z), z[1].detach())


def byol(recipe, z, p):
    return 0.5 * (
        recipe.criterion(recipe.note(0, p), z[1].detach())
        + recipe.criterion(recipe.note(1, p), z[0].detach())
    )


def simsiam(recipe, z, p):
    return 0.5 * (
        recipe.criterion(z[0].detach(), recipe.note(1, p))
        + recipe.criterion(z[1].detach(), recipe.note(0, p))
    )


def nnclr(recipe, z, p):
    neighbors = [view.detach().roll(1, dims=0) for view in z]
    return simsiam(recipe, neighbors, p)


def fastsiam(recipe, z, p):
    loss = 0
    for c in range(4):
        others = torch.stack([z[o].detach() for o in range(4) if o != c])
        loss = loss + recipe.criterion(recipe.note(c, p), others.mean(dim=0)) / 4
    return loss


def vicreg(recipe, z, p):
    return recipe.criterion(z_a=recipe.note(0, z), z_b=recipe.note(1, z))


def vicreg_other_order(recipe, z, p):
    return recipe.criterion(z_b=recipe.note(1, z), z_a=recipe.note(0, z))


class Recipe(pl.LightningModule):
    """Calls its criterion by one of the functions above, and notes what it passes."""

    def __init__(self, criterion, form=simclr, learning_rate=0.05):
        super().__init__()
        torch.manual_seed(3)
        self.encoder = nn.Linear(3, DIM)
        self.head = nn.Linear(DIM, DIM)
        self.criterion = criterion
        self.form = form
        self.learning_rate = learning_rate
        self.noted = []
        self.losses = []

    def note(self, view, embeddings):
        self.noted.append((view, embeddings[view].detach().clone()))
        return embeddings[view]

    def training_step(self, batch, batch_idx):
        z = [self.encoder(view / 10) for view in batch[0]]
        loss = self.form(self, z, [self.head(view) for view in z])
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), self.learning_rate)


class AlsoWithoutGradient(Recipe):
    """Calls the criterion without gradient first, and in validation with gradient."""

    def training_step(self, batch, batch_idx):
        with torch.no_grad():
            self.criterion(batch[0][0], batch[0][1])
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        with torch.enable_grad():
            z0, z1 = (self.encoder(view) for view in batch[0])
            self.criterion(z0, z1)


def filled_field(length=12, **options):
    """A field in which samples follow the next two, and every second one itself too."""
    field = ResponseField(length, DIM, neighbors=2, **{"field_weight": 1.0} | options)
    samples = torch.arange(length)
    field.ids.copy_(torch.stack([samples + 1, samples + 2], dim=1) % length)
    field.self_mass.copy_(0.5 * (samples % 2))
    field.weights.copy_((1 - field.self_mass)[:, None] * torch.tensor([0.75, 0.25]))
    return field


def loader_of(field, count=2, **options):
    pairs = FieldPairs(Numbers(field.num_samples), views(count), field)
    return DataLoader(pairs, **{"batch_size": 4, "shuffle": True} | options)


class History(Logger):
    """Every value logged, in a list by name."""

    name = version = None

    def __init__(self):
        super().__init__()
        self.values = {}

    def log_metrics(self, metrics, step=None):
        for name, value in metrics.items():
            self.values.setdefault(name, []).append(value)

    def log_hyperparams(self, params):
        pass
