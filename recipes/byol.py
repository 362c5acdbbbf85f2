"""BYOL: one view predicts what a slowly moving copy of the encoder says of the other.

[0] BYOL, 2020, https://arxiv.org/abs/2006.07733
"""

from typing import Any

from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor

from rkdo_plugin.recipes.base.momentum import MomentumRecipe
from rkdo_plugin.recipes.base.settings import SettingsLike
from rkdo_plugin.recipes.views.transforms import BYOLViews

HIDDEN_DIM = 512  # width of the projection and of the prediction head
OUTPUT_DIM = 128  # size of the embeddings that the loss reads
START_MOMENTUM = 0.99  # momentum of the copies at the first step; it rises to 1


class BYOL(MomentumRecipe):
    """BYOL with any encoder and any criterion of two tensors.

    `backbone` is trained; `backbone_momentum` is its moving average. The criterion is
    called twice a step, as `criterion(prediction, target)`. The target carries no
    gradient.

    Example:
        >>> recipe = create_recipe("byol")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    default_loss = "negative-cosine"
    transform = BYOLViews

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = BYOLProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.prediction_head = BYOLPredictionHead(OUTPUT_DIM, HIDDEN_DIM, OUTPUT_DIM)
        self.add_copies()

    def forward(self, images: Tensor) -> Tensor:
        """Predictions (B, D) of images (B, C, H, W)."""
        predictions: Tensor = self.prediction_head(super().forward(images))
        return predictions

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        self.move_copies(batch_idx, START_MOMENTUM)
        view0, view1 = batch[0]
        loss: Tensor = 0.5 * (
            self.criterion(self(view0), self.target(view1))
            + self.criterion(self(view1), self.target(view0))
        )
        return self.log_loss(loss, len(view0))
