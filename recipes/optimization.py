"""The optimizer and the learning rate schedule that the recipes share."""

from typing import Any

import pytorch_lightning as pl
import torch
from lightly.utils.scheduler import CosineWarmupScheduler

WARMUP = 0.1  # fraction of the steps during which the learning rate rises


def adamw_cosine(
    recipe: pl.LightningModule, learning_rate: float, weight_decay: float
) -> Any:
    """AdamW over all trainable parameters, the criterion's own included.

    The learning rate rises linearly, then falls to almost nothing along a cosine.

    Args:
        recipe: The module to train, attached to its trainer.
        learning_rate: Peak learning rate.
        weight_decay: Decay of matrices and kernels; biases, norms and scalars, such as
            a learned temperature, are not decayed.

    Returns:
        What `configure_optimizers` returns.
    """
    parameters = [p for p in recipe.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
    steps = int(recipe.trainer.estimated_stepping_batches)
    scheduler = _CosineWarmup(
        optimizer, warmup_epochs=int(WARMUP * steps), max_epochs=steps
    )
    return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class _CosineWarmup(CosineWarmupScheduler):  # type: ignore[misc]
    def scale_lr(self, epoch: int) -> float:
        # Lightly before 1.6 gives a numpy scalar, which weights_only loading refuses.
        return float(super().scale_lr(epoch))
