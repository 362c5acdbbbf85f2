"""What a recipe's step costs beside the same step written by hand in plain PyTorch.

    python benchmarks/recipe_step.py [REPETITIONS]

SimCLR with NT-Xent and BYOL, the small convnet, batches of 256 images (1, 28, 28) that
are ready in memory, one thread. Lightning's trainer runs the recipe, with its progress
bar and logger off; the same number of steps is run by hand; the two are interleaved,
and the ratio of the medians is printed.
"""

import copy
import logging
import statistics
import sys
import time
import warnings

import pytorch_lightning as pl
import torch
from lightly.models.utils import update_momentum
from torch import Tensor, nn
from torch.utils.data import DataLoader

from rkdo_plugin import create_recipe

STEPS = 30
Views = list[Tensor]


def simclr(net: nn.Module, views: Views) -> Tensor:
    """Lightly's example."""
    z0, z1 = (net.projection_head(net.backbone(view)) for view in views)
    loss: Tensor = net.criterion(z0, z1)
    return loss


def byol(net: nn.Module, views: Views) -> Tensor:
    """Lightly's example."""
    update_momentum(net.backbone, net.backbone_momentum, 0.99)
    update_momentum(net.projection_head, net.projection_head_momentum, 0.99)
    losses = []
    for online, other in (views, views[::-1]):
        p = net.prediction_head(net.projection_head(net.backbone(online)))
        with torch.no_grad():
            z = net.projection_head_momentum(net.backbone_momentum(other))
        losses.append(net.criterion(p, z))
    return 0.5 * (losses[0] + losses[1])


def by_trainer(recipe: pl.LightningModule, batches: list[list[Views]]) -> float:
    """Seconds a step."""
    clock = Clock()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
    )
    trainer.fit(recipe, DataLoader(batches, batch_size=None))
    return clock.seconds / STEPS


class Clock(pl.Callback):
    """Times the steps, not what a trainer does once."""

    seconds = 0.0

    def on_train_epoch_start(self, *args: object) -> None:
        """Start."""
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *args: object) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self.start


def by_hand(name: str, net: nn.Module, batches: list[list[Views]]) -> float:
    """Seconds a step."""
    step = {"simclr": simclr, "byol": byol}[name]
    matrices = [p for p in net.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in net.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, 4e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    start = time.perf_counter()
    for views, _ in batches:
        loss = step(net, views)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return (time.perf_counter() - start) / STEPS


def main(repetitions: int) -> None:
    """Interleave the two, and print the medians."""
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    labels = torch.zeros(256)
    batches = [[list(torch.rand(2, 256, 1, 28, 28)), labels] for _ in range(STEPS)]
    for name in ("simclr", "byol"):
        times: dict[str, list[float]] = {"recipe": [], "by hand": []}
        for _ in range(repetitions):
            recipe = create_recipe(name, in_channels=1, image_size=28)
            times["by hand"].append(by_hand(name, copy.deepcopy(recipe), batches))
            times["recipe"].append(by_trainer(recipe, batches))
        recipe_ms, hand_ms = (1e3 * statistics.median(t) for t in times.values())
        print(
            f"{name}: recipe {recipe_ms:.2f} ms, by hand {hand_ms:.2f} ms, ratio "
            f"{recipe_ms / hand_ms:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
