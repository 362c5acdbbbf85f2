"""NNCLR: a view predicts the nearest neighbour, in a queue, of the other view.

[0] NNCLR, 2021, https://arxiv.org/abs/2104.14548
"""

from dataclasses import dataclass
from typing import Any

from lightly.models.modules import NNMemoryBankModule
from lightly.models.modules.heads import NNCLRPredictionHead, NNCLRProjectionHead
from torch import Tensor

from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike

HIDDEN_DIM = 512  # width of the projection and of the prediction head
OUTPUT_DIM = 128  # size of the embeddings that the loss reads


@dataclass(frozen=True)
class NNCLRSettings(RecipeSettings):
    """Settings of `NNCLR`.

    Args:
        queue: Number of earlier embeddings among which neighbours are looked for.
    """

    queue: int = 4096

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("queue", self.queue)


class NNCLR(Recipe):
    """NNCLR with any encoder and any criterion of two tensors.

    The criterion is called twice a step, as `criterion(neighbour, prediction)`. The
    neighbour carries no gradient.

    Example:
        >>> recipe = create_recipe("nnclr", queue=1024)
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    Settings = NNCLRSettings
    settings: NNCLRSettings

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.backbone, dim = self.build_encoder()
        self.projection_head = NNCLRProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.prediction_head = NNCLRPredictionHead(OUTPUT_DIM, HIDDEN_DIM, OUTPUT_DIM)
        self.memory_bank = NNMemoryBankModule(size=(self.settings.queue, OUTPUT_DIM))
        # In the checkpoint, or a resumed run would look among random directions.
        for name, buffer in list(self.memory_bank.named_buffers()):
            self.memory_bank.register_buffer(name, buffer, persistent=True)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        self.memory_bank.gather_distributed = self.trainer.world_size > 1
        view0, view1 = batch[0]
        z0, z1 = self(view0), self(view1)
        p0, p1 = self.prediction_head(z0), self.prediction_head(z1)
        neighbor0 = self.memory_bank(z0.detach(), update=False)
        neighbor1 = self.memory_bank(z1.detach(), update=True)
        loss: Tensor = 0.5 * (
            self.criterion(neighbor0, p1) + self.criterion(neighbor1, p0)
        )
        return self.log_loss(loss, len(view0))
