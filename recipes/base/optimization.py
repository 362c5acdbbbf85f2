"""The optimizers and the learning rate schedule that the recipes share."""

from typing import Any

import pytorch_lightning as pl
import torch
from lightly.utils.lars import LARS
from lightly.utils.scheduler import CosineWarmupScheduler

from rkdo_plugin.options import choose

WARMUP = 0.1  # fraction of the steps during which the learning rate rises
MOMENTUM = 0.9  # of SGD and LARS

OPTIMIZERS = ("adamw", "lars", "sgd")


def optimize(
    recipe: pl.LightningModule, name: str, learning_rate: float, weight_decay: float
) -> Any:
    """An optimizer over all trainable parameters, the criterion's own included.

    The learning rate rises linearly, then falls to almost nothing along a cosine.

    Args:
        recipe: The module to train, attached to its trainer.
        name: "adamw", "sgd" or "lars"; the last two with a momentum of 0.9.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices and kernels; biases, norms and scalars, such as
            a learned temperature, are not decayed.

    Returns:
        What `configure_optimizers` returns.

    Raises:
        ValueError: There is no such optimizer.
    """
    name = choose("optimizer", name, OPTIMIZERS)
    parameters = [p for p in recipe.parameters() if p.requires_grad]
    matrices = {"params": [p for p in parameters if p.ndim > 1]}
    others = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    groups: list[dict[str, Any]] = [g for g in (matrices, others) if g["params"]]
    optimizer: torch.optim.Optimizer
    if name == "adamw":
        optimizer = torch.optim.AdamW(groups, learning_rate, weight_decay=weight_decay)
    else:
        kind = torch.optim.SGD if name == "sgd" else LARS
        optimizer = kind(
            groups, lr=learning_rate, momentum=MOMENTUM, weight_decay=weight_decay
        )
    steps = int(recipe.trainer.estimated_stepping_batches)
    scheduler = _CosineWarmup(
        optimizer, warmup_epochs=int(WARMUP * steps), max_epochs=steps
    )
    return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class _CosineWarmup(CosineWarmupScheduler):  # type: ignore[misc]
    def scale_lr(self, epoch: int) -> float:
        # Lightly before 1.6 gives a numpy scalar, which weights_only loading refuses.
        return float(super().scale_lr(epoch))
