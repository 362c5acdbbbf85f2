"""Ends a run that is lost: the loss is not finite, or the embeddings collapsed."""

import math
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from lightly.utils.debug import std_of_l2_normalized
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

COLLAPSED = 0.01  # a spread below it; evenly spread embeddings have 1
HEADS = ("projection_head", "student_head.layers")
PATIENCE = 2  # collapsed epochs in a row that end the run


class TrainingLostError(RuntimeError):
    """The run cannot learn any more. Its last checkpoint is unchanged."""


class TrainingHealth(pl.Callback):
    """Logs how far the embeddings are spread, and ends a run that is lost.

    "embedding_std" is Lightly's measure: the mean standard deviation of the components
    of normalised embeddings, times the square root of their number. It is 1 when the
    embeddings are spread evenly, and 0 when all embeddings are equal. It is measured on
    the outputs of the recipe's projection head; in DINO's head, on the inputs of the
    prototypes.

    Raises:
        TrainingLostError: The loss is not finite, or the embeddings were nearly equal
            for two epochs.
    """

    def __init__(self) -> None:
        self._hook: RemovableHandle | None = None
        self._collapsed = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Watch the embeddings."""
        modules = dict(pl_module.named_modules())
        for name in HEADS:
            if name in modules:
                note = partial(_note, pl_module)
                self._hook = modules[name].register_forward_hook(note)

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Refuse a loss that is not finite, before it reaches the weights."""
        if not torch.isfinite(loss):
            step = trainer.global_step + 1
            raise TrainingLostError(
                f"the loss became {float(loss.detach())} at step {step}; a lower "
                "learning rate, or --precision 32-true, may help; the last checkpoint "
                "is unchanged"
            )

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Refuse embeddings that collapsed."""
        spread = float(trainer.callback_metrics.get("embedding_std", 1.0))
        self._collapsed = self._collapsed + 1 if spread < COLLAPSED else 0
        if self._collapsed >= PATIENCE:
            raise TrainingLostError(
                f"the embeddings collapsed: their spread was {spread:.4f} of 1 in "
                f"{PATIENCE} epochs; a lower learning rate, a larger batch or another "
                "--loss may help; the last checkpoint is unchanged"
            )

    def teardown(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str
    ) -> None:
        """Stop watching."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def state_dict(self) -> dict[str, Any]:
        """Number of collapsed epochs in a row, for the checkpoint."""
        return {"collapsed": self._collapsed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue the count."""
        self._collapsed = state["collapsed"]


def _note(
    recipe: pl.LightningModule, head: nn.Module, inputs: Any, embeddings: Tensor
) -> None:
    """Log within the training step, beside the loss."""
    if head.training and torch.is_grad_enabled() and len(embeddings) > 1:
        z = embeddings.detach().float()
        recipe.log(
            "embedding_std",
            std_of_l2_normalized(z) * math.sqrt(z.shape[1]),
            batch_size=len(z),
        )
