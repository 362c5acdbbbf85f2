"""Barlow Twins: embeddings of two views agree, and their components do not.

[0] Barlow Twins, 2021, https://arxiv.org/abs/2103.03230
"""

from dataclasses import dataclass
from typing import Any

from lightly.models.modules.heads import BarlowTwinsProjectionHead
from torch import Tensor, nn

from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike

HIDDEN_DIM = 512  # width of the projection head
OUTPUT_DIM = 512  # size of the embedding, whose correlations (D, D) the loss reads


@dataclass(frozen=True)
class BarlowTwinsSettings(RecipeSettings):
    """Settings of `BarlowTwins`."""

    loss: str | nn.Module = "barlowtwins"


class BarlowTwins(Recipe):
    """Barlow Twins with any encoder, and any criterion called as `criterion(z0, z1)`.

    Example:
        >>> recipe = create_recipe("barlowtwins")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 512])
    """

    Settings = BarlowTwinsSettings

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = BarlowTwinsProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        view0, view1 = batch[0]
        return self.log_loss(self.criterion(self(view0), self(view1)), len(view0))
