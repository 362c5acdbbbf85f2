"""VICReg: variance, invariance and covariance of the embeddings of two views.

[0] VICReg, 2022, https://arxiv.org/abs/2105.04906
"""

from dataclasses import dataclass
from typing import Any

from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor, nn

from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike

HIDDEN_DIM = 512  # width of the projection head
OUTPUT_DIM = 512  # size of the embedding, whose covariances (D, D) the loss reads


@dataclass(frozen=True)
class VICRegSettings(RecipeSettings):
    """Settings of `VICReg`."""

    loss: str | nn.Module = "vicreg-covariance"


class VICReg(Recipe):
    """VICReg with any encoder, and any criterion called as `criterion(z0, z1)`.

    Example:
        >>> recipe = create_recipe("vicreg")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 512])
    """

    Settings = VICRegSettings

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = VICRegProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        view0, view1 = batch[0]
        return self.log_loss(self.criterion(self(view0), self(view1)), len(view0))
