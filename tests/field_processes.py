"""A training run that notes its field after every step; spawn imports it by name."""

import atexit
import copy

import pytorch_lightning as pl
import torch
from numbered_samples import Numbers, views
from quiet_trainer import trainer
from tiny_recipes import Recipe, byol, filled_field
from torch import distributed as dist
from torch.utils.data import DataLoader

from rkdo_plugin import FieldCallback, FieldPairs, IConLoss

LENGTH = 11  # two processes of 6 each: one sample is repeated


def pairs_drawn():
    """Every sample's pair with the next one, drawn once."""
    torch.manual_seed(0)
    pairs = FieldPairs(Numbers(LENGTH), views(), filled_field(LENGTH))
    return [pairs[i, (i + 1) % LENGTH] for i in range(LENGTH)]


class Note(pl.Callback):
    """Writes each process's losses, and its field after every step."""

    def __init__(self, field, folder):
        self.field = field
        self.folder = folder
        self.batches, self.states = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append(batch[2].tolist())
        self.states.append(copy.deepcopy(self.field.state_dict()))

    def on_train_end(self, trainer, pl_module):
        torch.save(
            {
                "batches": self.batches,
                "losses": pl_module.losses,
                "states": self.states,
                "weights": pl_module.state_dict(),
            },
            self.folder / f"{trainer.global_rank}-of-{trainer.world_size}.pt",
        )
        if dist.is_initialized():
            # Now and then a process that ends beside gloo's threads aborts.
            atexit.register(dist.destroy_process_group)


def run(folder, loader_options, mixture, **trainer_options):
    """Train, and return the field that it leaves in this process."""
    field = filled_field(LENGTH, mixture=mixture)
    if mixture == "log-linear":
        features = torch.randn(LENGTH, 5, generator=torch.Generator().manual_seed(0))
        field.initialize(features)
    callbacks = FieldCallback(field), Note(field, folder)
    trainer(*callbacks, **trainer_options).fit(
        Recipe(IConLoss(gather_distributed=True), byol),
        DataLoader(pairs_drawn(), **loader_options),
    )
    return field
