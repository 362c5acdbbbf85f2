"""SimCLR: two views of an image attract each other, all other images repel.

[0] SimCLR, 2020, https://arxiv.org/abs/2002.05709
"""

from typing import Any

from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn

from rkdo_plugin.recipes.base.recipe import Recipe, build_encoder
from rkdo_plugin.recipes.encoders.torchvision import feature_dim

HIDDEN_DIM = 256  # width of the projection head
OUTPUT_DIM = 128  # size of the embedding that the loss reads


class SimCLR(Recipe):
    """SimCLR with any encoder and any two-tensor criterion.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called as `criterion(z0, z1)`.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.

    Example:
        >>> recipe = SimCLR(loss="ntxent", loss_options={"temperature": 0.2})
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
        optimizer: str = "adamw",
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(
            encoder, loss, loss_options, optimizer, learning_rate, weight_decay
        )
        self.backbone = build_encoder(encoder, in_channels)
        dim = feature_dim(self.backbone, in_channels, image_size)
        self.projection_head = SimCLRProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D) of images (B, C, H, W)."""
        features = self.backbone(images).flatten(start_dim=1)
        embeddings: Tensor = self.projection_head(features)
        return embeddings

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels and more, unread."""
        view0, view1 = batch[0]
        loss: Tensor = self.criterion(self(view0), self(view1))
        self.log("train_loss", loss, prog_bar=True, batch_size=len(view0))
        return loss
