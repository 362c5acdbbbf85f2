"""SimCLR: two views of an image attract each other, all other images repel.

[0] SimCLR, 2020, https://arxiv.org/abs/2002.05709
"""

from typing import Any

import pytorch_lightning as pl
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn

from rkdo_plugin.plugins import create_encoder, create_loss
from rkdo_plugin.recipes.encoders import feature_dim
from rkdo_plugin.recipes.optimization import adamw_cosine

HIDDEN_DIM = 256  # width of the projection head
OUTPUT_DIM = 128  # size of the embedding that the loss reads


class SimCLR(pl.LightningModule):
    """SimCLR with any encoder and any two-tensor criterion.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called as `criterion(z0, z1)`.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.

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
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__()
        modules = {"encoder": encoder, "loss": loss}
        self.save_hyperparameters(
            logger=False,
            ignore=[name for name in modules if isinstance(modules[name], nn.Module)],
        )
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.backbone: nn.Module = (
            create_encoder(encoder, in_channels=in_channels)
            if isinstance(encoder, str)
            else encoder
        )
        dim = feature_dim(self.backbone, in_channels, image_size)
        self.projection_head = SimCLRProjectionHead(dim, HIDDEN_DIM, OUTPUT_DIM)
        self.criterion: nn.Module = (
            create_loss(loss, **(loss_options or {})) if isinstance(loss, str) else loss
        )

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

    def configure_optimizers(self) -> Any:
        """AdamW with a warm-up and a cosine decay."""
        return adamw_cosine(self, self.learning_rate, self.weight_decay)
