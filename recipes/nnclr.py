"""NNCLR: a view predicts the nearest neighbour, in a queue, of the other view.

[0] NNCLR, 2021, https://arxiv.org/abs/2104.14548
"""

from typing import Any

from lightly.models.modules import NNMemoryBankModule
from lightly.models.modules.heads import NNCLRPredictionHead, NNCLRProjectionHead
from torch import Tensor, nn

from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.base.recipe import Recipe, build_encoder
from rkdo_plugin.recipes.encoders.torchvision import feature_dim

HIDDEN_DIM = 512  # width of the projection and of the prediction head
OUTPUT_DIM = 128  # size of the embeddings that the loss reads


class NNCLR(Recipe):
    """NNCLR with any encoder and any two-tensor criterion.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called twice a step, as
            `criterion(neighbour, prediction)` where the neighbour carries no gradient.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        queue: Number of earlier embeddings among which neighbours are looked for.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.

    Example:
        >>> recipe = NNCLR(queue=1024)
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        encoder: str | nn.Module = "small-convnet",
        loss: str | nn.Module = "ntxent",
        loss_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        image_size: int = 32,
        queue: int = 4096,
        optimizer: str = "adamw",
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
    ) -> None:
        check_count("queue", queue)
        super().__init__(
            encoder, loss, loss_options, optimizer, learning_rate, weight_decay
        )
        self.backbone = build_encoder(encoder, in_channels)
        dim = feature_dim(self.backbone, in_channels, image_size)
        self.projection_head = NNCLRProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.prediction_head = NNCLRPredictionHead(OUTPUT_DIM, HIDDEN_DIM, OUTPUT_DIM)
        self.memory_bank = NNMemoryBankModule(size=(queue, OUTPUT_DIM))
        # In the checkpoint, or a resumed run would look among random directions.
        for name, buffer in list(self.memory_bank.named_buffers()):
            self.memory_bank.register_buffer(name, buffer, persistent=True)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) of images (B, C, H, W)."""
        features = self.backbone(images).flatten(start_dim=1)
        embeddings: Tensor = self.projection_head(features)
        return embeddings

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
        self.log("train_loss", loss, prog_bar=True, batch_size=len(view0))
        return loss
