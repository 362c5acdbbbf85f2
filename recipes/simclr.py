"""SimCLR: two views of an image attract each other, all other images repel.

[0] SimCLR, 2020, https://arxiv.org/abs/2002.05709
"""

from typing import Any

from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor

from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import SettingsLike

HIDDEN_DIM = 256  # width of the projection head
OUTPUT_DIM = 128  # size of the embedding that the loss reads


class SimCLR(Recipe):
    """SimCLR with any encoder, and any criterion called as `criterion(z0, z1)`.

    Example:
        >>> recipe = create_recipe("simclr", loss_options={"temperature": 0.2})
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = SimCLRProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        view0, view1 = batch[0]
        return self.log_loss(self.criterion(self(view0), self(view1)), len(view0))
