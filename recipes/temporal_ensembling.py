"""Temporal Ensembling: a classifier agrees with what it said in earlier epochs.

[0] Temporal ensembling, 2016, https://arxiv.org/abs/1610.02242
"""

from typing import Any

import torch
from torch import Tensor, nn

from rkdo_plugin.options import check_count, check_momentum
from rkdo_plugin.recipes.base.recipe import build_encoder
from rkdo_plugin.recipes.base.semi_supervised import SemiSupervised
from rkdo_plugin.recipes.encoders.torchvision import feature_dim
from rkdo_plugin.supervision.comparison import of_all_processes


class TemporalEnsembling(SemiSupervised):
    """Temporal Ensembling with any encoder and any two-tensor criterion.

        Z_i <- a Z_i + (1 - a) p_i  once an epoch,    target_i = Z_i / (1 - a^n_i)

    where n_i counts the epochs that image i was part of. An image's first epoch has no
    target; its own prediction stands there, from which no gradient comes. A partner
    that a response field draws gives the target in the image's place.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called as
            `criterion(probabilities, target)`, (B, C), the target without gradient.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        num_classes: C.
        num_samples: N, the number of training images.
        labelled: Share of the training images whose label is seen, in (0, 1].
        consistency: Weight of the criterion after its rise; 0 is the supervised
            baseline.
        momentum: a, in [0, 1).
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.

    Example:
        >>> recipe = TemporalEnsembling(num_samples=100)
        >>> recipe.target(torch.tensor([5, 7]), torch.full((2, 10), 0.1)).shape
        torch.Size([2, 10])
    """

    ensemble: Tensor
    latest: Tensor
    epochs_seen: Tensor
    seen: Tensor

    def __init__(
        self,
        encoder: str | nn.Module = "small-convnet",
        loss: str | nn.Module = "consistency",
        loss_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
        num_samples: int = 1,
        labelled: float = 0.1,
        consistency: float = 10.0,
        momentum: float = 0.6,
        optimizer: str = "adamw",
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
    ) -> None:
        check_count("num_samples", num_samples)
        check_momentum(momentum)
        super().__init__(
            encoder,
            loss,
            loss_options,
            num_classes,
            labelled,
            consistency,
            optimizer,
            learning_rate,
            weight_decay,
        )
        self.momentum = momentum
        self.backbone = build_encoder(encoder, in_channels)
        dim = feature_dim(self.backbone, in_channels, image_size)
        self.head = nn.Linear(dim, num_classes)
        self.register_buffer("ensemble", torch.zeros(num_samples, num_classes))
        self.register_buffer("latest", torch.zeros(num_samples, num_classes))
        self.register_buffer("epochs_seen", torch.zeros(num_samples))
        self.register_buffer("seen", torch.zeros(num_samples, dtype=torch.bool))

    def classifiers(self) -> dict[str, nn.Module]:
        """The one that is trained."""
        return {"classifier": nn.Sequential(self.backbone, nn.Flatten(), self.head)}

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of images (B, C, H, W)."""
        logits: Tensor = self.head(self.backbone(images).flatten(start_dim=1))
        return logits

    def target(self, index: Tensor, probabilities: Tensor) -> Tensor:
        """What earlier epochs say of samples.

        Args:
            index: Samples (B,).
            probabilities: What the classifier says now (B, C), for new samples.
        """
        epochs = self.epochs_seen[index, None]
        corrected = self.ensemble[index] / (1 - self.momentum**epochs).clamp_min(1e-12)
        return torch.where(epochs > 0, corrected, probabilities.detach())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: views, labels, -1 where hidden, and indices."""
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
        moved = self.ensemble.lerp(self.latest, 1 - self.momentum)
        self.ensemble.copy_(torch.where(self.seen[:, None], moved, self.ensemble))
        self.epochs_seen += self.seen
        self.seen.zero_()
