"""Temporal Ensembling: a classifier agrees with what it said in earlier epochs.

[0] Temporal ensembling, 2016, https://arxiv.org/abs/1610.02242
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rkdo_plugin.options import check_below_one, check_count
from rkdo_plugin.recipes.base.settings import SettingsLike
from rkdo_plugin.recipes.semi_supervised import (
    SemiSupervised,
    SemiSupervisedSettings,
)
from rkdo_plugin.supervision.comparison import of_all_processes


@dataclass(frozen=True)
class TemporalEnsemblingSettings(SemiSupervisedSettings):
    """Settings of `TemporalEnsembling`.

    Args:
        momentum: a, the momentum of the predictions' moving average, in [0, 1).
    """

    consistency: float = 10.0
    momentum: float = 0.6
    num_samples: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("num_samples", self.num_samples)
        check_below_one("momentum", self.momentum)


class TemporalEnsembling(SemiSupervised):
    """Temporal Ensembling with any encoder and any criterion of two tensors.

        Z_i <- a Z_i + (1 - a) p_i  once an epoch,    target_i = Z_i / (1 - a^n_i)

    n_i counts the epochs that image i was part of. In its first epoch an image has no
    Z: its own prediction, without gradient, is the target. If a response field draws a
    partner, the partner's Z gives the target.

    The criterion is called as `criterion(probabilities, target)` on (B, C). The target
    carries no gradient.

    Example:
        >>> recipe = create_recipe("temporal-ensembling", num_samples=100)
        >>> recipe.target(torch.tensor([5, 7]), torch.full((2, 10), 0.1)).shape
        torch.Size([2, 10])
    """

    Settings = TemporalEnsemblingSettings
    settings: TemporalEnsemblingSettings

    ensemble: Tensor
    latest: Tensor
    epochs_seen: Tensor
    seen: Tensor

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        samples, classes = self.settings.num_samples, self.settings.num_classes
        self.backbone, dim = self.build_encoder()
        self.head = nn.Linear(dim, classes)
        self.register_buffer("ensemble", torch.zeros(samples, classes))
        self.register_buffer("latest", torch.zeros(samples, classes))
        self.register_buffer("epochs_seen", torch.zeros(samples))
        self.register_buffer("seen", torch.zeros(samples, dtype=torch.bool))

    def classifiers(self) -> dict[str, nn.Module]:
        """The classifier that is trained."""
        return {"classifier": nn.Sequential(self.backbone, nn.Flatten(), self.head)}

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of images (B, C, H, W)."""
        logits: Tensor = self.head(self.backbone(images).flatten(start_dim=1))
        return logits

    def target(self, index: Tensor, probabilities: Tensor) -> Tensor:
        """Targets (B, C) of samples, from earlier epochs.

        Args:
            index: Indices (B,) of the samples.
            probabilities: Present predictions (B, C), used for new samples.
        """
        epochs = self.epochs_seen[index, None]
        corrected = self.ensemble[index] / (
            1 - self.settings.momentum**epochs
        ).clamp_min(1e-12)
        return torch.where(epochs > 0, corrected, probabilities.detach())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: views, labels (-1 if hidden) and indices."""
        images, labels, index = batch[0][0], batch[1], batch[2]
        target_of = batch[3] if len(batch) > 3 else index
        logits = self(images)
        probabilities = logits.softmax(dim=1).detach()
        loss = self.loss_of(logits, self.target(target_of, probabilities), labels)
        self.note(index, probabilities)
        return loss

    def note(self, index: Tensor, probabilities: Tensor) -> None:
        """Keep what the classifier said, (B, C), for the end of the epoch."""
        if self.trainer.world_size > 1:
            index = of_all_processes(index)
            probabilities = of_all_processes(probabilities)
        self.latest[index] = probabilities.to(self.latest)
        self.seen[index] = True

    def on_train_epoch_end(self) -> None:
        """Move the ensemble, of the samples that were seen."""
        moved = self.ensemble.lerp(self.latest, 1 - self.settings.momentum)
        self.ensemble.copy_(torch.where(self.seen[:, None], moved, self.ensemble))
        self.epochs_seen += self.seen
        self.seen.zero_()
