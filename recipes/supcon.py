"""SupCon: images of one class attract each other, in any views; all others repel.

[0] Supervised contrastive learning, 2020, https://arxiv.org/abs/2004.11362
"""

from typing import Any

from torch import nn

from rkdo_plugin.recipes.simclr import SimCLR


class SupCon(SimCLR):
    """SimCLR with a criterion that reads the batch's labels.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called as `criterion(z0, z1)`,
            or with the labels as `targets=` where it has a true `reads_labels`.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.

    Example:
        >>> SupCon().criterion.reads_labels
        True
    """

    def __init__(
        self,
        encoder: str | nn.Module = "small-convnet",
        loss: str | nn.Module = "supcon",
        loss_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        image_size: int = 32,
        optimizer: str = "adamw",
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(
            encoder,
            loss,
            loss_options,
            in_channels,
            image_size,
            optimizer,
            learning_rate,
            weight_decay,
        )
