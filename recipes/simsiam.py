"""SimSiam: one view predicts the other's embedding, which gets no gradient.

[0] SimSiam, 2020, https://arxiv.org/abs/2011.10566
"""

from typing import Any

from lightly.models.modules.heads import SimSiamPredictionHead, SimSiamProjectionHead
from lightly.transforms.simsiam_transform import SimSiamTransform
from torch import Tensor

from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import SettingsLike

HIDDEN_DIM = 512  # width of the projection head
OUTPUT_DIM = 128  # size of the embeddings that the loss reads
BOTTLENECK_DIM = 64  # width of the prediction head


class SimSiam(Recipe):
    """SimSiam with any encoder and any criterion of two tensors.

    The criterion is called twice a step, as `criterion(target, prediction)`. The target
    carries no gradient.

    Example:
        >>> recipe = create_recipe("simsiam")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    default_loss = "negative-cosine"
    transform = SimSiamTransform

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = SimSiamProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.prediction_head = SimSiamPredictionHead(
            OUTPUT_DIM, BOTTLENECK_DIM, OUTPUT_DIM
        )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        view0, view1 = batch[0]
        z0, z1 = self(view0), self(view1)
        p0, p1 = self.prediction_head(z0), self.prediction_head(z1)
        loss: Tensor = 0.5 * (
            self.criterion(z0.detach(), p1) + self.criterion(z1.detach(), p0)
        )
        return self.log_loss(loss, len(view0))
