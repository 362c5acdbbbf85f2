"""MoCo v2: a view's query finds its key, of a moving average, among those of a queue.

[0] MoCo, 2019, https://arxiv.org/abs/1911.05722
[1] MoCo v2, 2020, https://arxiv.org/abs/2003.04297
"""

from typing import Any

from lightly.models.modules.heads import MoCoProjectionHead
from lightly.transforms.moco_transform import MoCoV2Transform
from torch import Tensor

from rkdo_plugin.recipes.base.momentum import MomentumRecipe
from rkdo_plugin.recipes.base.settings import SettingsLike

HIDDEN_DIM = 256  # width of the projection head
OUTPUT_DIM = 128  # size of the embeddings that the loss reads
START_MOMENTUM = 0.99  # momentum of the copies at the first step; it rises to 1


class MoCo(MomentumRecipe):
    """MoCo v2 with any encoder and any criterion of two tensors.

    `backbone` is trained; `backbone_momentum` is its moving average. The criterion is
    called as `criterion(query, key)`. The key carries no gradient. The queue belongs to
    the criterion and to its state: `loss_options={"memory_bank_size": (4096, 128)}`.
    Its length need not be a multiple of the batch size.

    Example:
        >>> recipe = create_recipe("moco")
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    default_loss = "moco"
    transform = MoCoV2Transform

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = MoCoProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.add_copies()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        self.move_copies(batch_idx, START_MOMENTUM)
        view0, view1 = batch[0]
        loss: Tensor = self.criterion(self(view0), self.target(view1))
        return self.log_loss(loss, len(view0))
