"""BYOL: one view predicts what a slowly moving copy of the encoder says of the other.

[0] BYOL, 2020, https://arxiv.org/abs/2006.07733
"""

from dataclasses import dataclass
from typing import Any

import torch
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor, nn

from rkdo_plugin.recipes.base.momentum import (
    momentum_copy,
    move_copies,
    rising_momentum,
)
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike

HIDDEN_DIM = 512  # width of the projection and of the prediction head
OUTPUT_DIM = 128  # size of the embeddings that the loss reads
START_MOMENTUM = 0.99  # momentum of the copies at the first step; it rises to 1


@dataclass(frozen=True)
class BYOLSettings(RecipeSettings):
    """Settings of `BYOL`."""

    loss: str | nn.Module = "negative-cosine"


class BYOL(Recipe):
    """BYOL with any encoder and any criterion of two tensors.

    `backbone` is trained; `backbone_momentum` is its moving average. The criterion is
    called twice a step, as `criterion(prediction, target)`. The target carries no
    gradient.

    Example:
        >>> recipe = create_recipe("byol")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    Settings = BYOLSettings

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = BYOLProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.prediction_head = BYOLPredictionHead(OUTPUT_DIM, HIDDEN_DIM, OUTPUT_DIM)
        self.backbone_momentum = momentum_copy(self.backbone)
        self.projection_head_momentum = momentum_copy(self.projection_head)

    def forward(self, images: Tensor) -> Tensor:
        """Predictions (B, D) of images (B, C, H, W)."""
        predictions: Tensor = self.prediction_head(super().forward(images))
        return predictions

    @torch.no_grad()
    def target(self, images: Tensor) -> Tensor:
        """The copy's embeddings (B, D) of images (B, C, H, W), without gradient."""
        features = self.backbone_momentum(images).flatten(start_dim=1)
        embeddings: Tensor = self.projection_head_momentum(features)
        return embeddings

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        move_copies(
            self,
            batch_idx,
            rising_momentum(self, START_MOMENTUM),
            (self.backbone, self.backbone_momentum),
            (self.projection_head, self.projection_head_momentum),
        )
        view0, view1 = batch[0]
        loss: Tensor = 0.5 * (
            self.criterion(self(view0), self.target(view1))
            + self.criterion(self(view1), self.target(view0))
        )
        return self.log_loss(loss, len(view0))
