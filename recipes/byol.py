"""BYOL: one view predicts what a slowly moving copy of the encoder says of the other.

[0] BYOL, 2020, https://arxiv.org/abs/2006.07733
"""

import copy
from typing import Any

import torch
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn

from rkdo_plugin.recipes.base.recipe import Recipe, build_encoder, rising_momentum
from rkdo_plugin.recipes.encoders.torchvision import feature_dim

HIDDEN_DIM = 512  # width of the projection and of the prediction head
OUTPUT_DIM = 128  # size of the embeddings that the loss reads
START_MOMENTUM = 0.99  # of the moving average at the first step; 1 at the last


class BYOL(Recipe):
    """BYOL with any encoder and any two-tensor criterion.

    `backbone` is trained; `backbone_momentum` is its moving average.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called twice a step, as
            `criterion(prediction, target)` where the target carries no gradient.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.

    Example:
        >>> recipe = BYOL(encoder="small-convnet")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        encoder: str | nn.Module = "small-convnet",
        loss: str | nn.Module = "negative-cosine",
        loss_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        image_size: int = 32,
        optimizer: str = "adamw",
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(
            encoder, loss, loss_options, optimizer, learning_rate, weight_decay
        )
        self.backbone = build_encoder(encoder, in_channels)
        dim = feature_dim(self.backbone, in_channels, image_size)
        self.projection_head = BYOLProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.prediction_head = BYOLPredictionHead(OUTPUT_DIM, HIDDEN_DIM, OUTPUT_DIM)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)

    def forward(self, images: Tensor) -> Tensor:
        """Predictions (B, D) of images (B, C, H, W)."""
        features = self.backbone(images).flatten(start_dim=1)
        predictions: Tensor = self.prediction_head(self.projection_head(features))
        return predictions

    @torch.no_grad()
    def target(self, images: Tensor) -> Tensor:
        """What the moving average says of images (B, C, H, W): (B, D), no gradient."""
        features = self.backbone_momentum(images).flatten(start_dim=1)
        embeddings: Tensor = self.projection_head_momentum(features)
        return embeddings

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        if self.begins_step(batch_idx):
            momentum = rising_momentum(self, START_MOMENTUM)
            update_momentum(self.backbone, self.backbone_momentum, momentum)
            update_momentum(
                self.projection_head, self.projection_head_momentum, momentum
            )
        view0, view1 = batch[0]
        loss: Tensor = 0.5 * (
            self.criterion(self(view0), self.target(view1))
            + self.criterion(self(view1), self.target(view0))
        )
        self.log("train_loss", loss, prog_bar=True, batch_size=len(view0))
        return loss
