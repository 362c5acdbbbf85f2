"""What each of two processes of recipes/training/test_distributed.py runs.

training_processes.py FOLDER [PROCESSES [NAME ...]]
"""

import sys
from pathlib import Path

import pytorch_lightning as pl
from runs import train
from torch import nn

SGD = {"optimizer": "sgd", "learning_rate": 0.05}
SLOW = {"optimizer": "sgd", "learning_rate": 0.002}  # for gradients of the order of 100
LABELS = {"recipe_options": {**SGD, "labelled": 0.5}, "epochs": 2}
RUNS = {
    "simclr": {},
    "simclr-icon": {"loss": "icon"},
    "simclr-field": {"field": "pixels"},
    "byol": {},
    "moco": {"loss_options": {"memory_bank_size": (100, 128)}},
    "simsiam": {},
    "nnclr": {"recipe_options": {**SGD, "queue": 100}},
    "vicreg": {},
    # Lightly's own loss of Barlow Twins standardises each process's embeddings alone.
    "barlowtwins-icon": {"loss": "icon"},
    "supcon": {},
    "dino": {"recipe_options": {**SLOW, "prototypes": 30, "local_views": 1}},
    "temporal_ensembling": LABELS,
    "mean_teacher": LABELS,
}


class NoBatchNorm(pl.Callback):
    """Takes batch norm, which sees a process's own images, out of a recipe."""

    def setup(self, trainer, pl_module, stage):
        for module in list(pl_module.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())


def run(name, folder, **options):
    settings = {"recipe_options": SGD, "limit": 320, "batch_size": 64, "epochs": 1}
    settings |= RUNS[name] | options
    return train(
        name.partition("-")[0],
        out=str(folder / name),
        workers=0,
        progress=False,
        callbacks=[NoBatchNorm()],
        **settings,
    )


if __name__ == "__main__":
    folder, *others = sys.argv[1:]
    processes, names = int(others[0]) if others else 2, others[1:] or RUNS
    for name in names:
        run(name, Path(folder), devices=processes, strategy="ddp")
