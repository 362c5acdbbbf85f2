"""SimCLR: two views of an image attract each other, all other images repel.

[0] SimCLR, 2020, https://arxiv.org/abs/2002.05709
"""

from typing import Any, ClassVar

from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn

from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import SettingsLike


class SimCLR(Recipe):
    """SimCLR with any encoder, and any criterion called as `criterion(z0, z1)`.

    Attributes:
        head: The class of the projection head.
        hidden_dim: Width of the projection head.
        output_dim: Size of the embedding that the loss reads.

    Example:
        >>> recipe = create_recipe("simclr", loss_options={"temperature": 0.2})
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    head: ClassVar[type[nn.Module]] = SimCLRProjectionHead
    hidden_dim: ClassVar[int] = 256
    output_dim: ClassVar[int] = 128

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = self.head(dim, self.hidden_dim, self.output_dim)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        view0, view1 = batch[0]
        return self.log_loss(self.criterion(self(view0), self(view1)), len(view0))
