"""DINO: a student finds, from any crop, what its moving average says of large ones.

[0] DINO, 2021, https://arxiv.org/abs/2104.14294
"""

import copy
import inspect
from typing import Any

import torch
from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn

from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.base.recipe import Recipe, build_encoder, rising_momentum
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.encoders.torchvision import feature_dim
from rkdo_plugin.recipes.views.transforms import Views, batched_multi_crop, multi_crop

HIDDEN_DIM = 512  # width of the head
BOTTLENECK_DIM = 64  # size of the embeddings before the prototypes
START_MOMENTUM = 0.99  # of the moving average at the first step; 1 at the last
FROZEN_EPOCHS = 1  # during which the prototypes stay as they are
PROTOTYPE_LOSSES = ("dino", "rkdo-dino")  # their `output_dim` is the recipe's
LARGE_CROPS = 2  # those that the teacher sees


class DINO(Recipe):
    """DINO with any encoder: multi-crop, centring and sharpening.

    `student_backbone` is trained; `teacher_backbone`, its moving average, is the better
    encoder, and the one that is evaluated and exported.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W), of
            two sizes where `local_views` is not 0, to features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called as
            `criterion(teacher, student, epoch=epoch)` with lists of (B, K) logits of K
            prototypes, one a view: "dino", or "rkdo-dino".
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        prototypes: K.
        local_views: Number of small crops.
        local_size: Their height and width in pixels; half of the images' by default.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.

    Example:
        >>> recipe = DINO(prototypes=1024)
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 1024])
    """

    field_stays = True  # the criterion's lists are no embeddings of pairs

    def __init__(
        self,
        encoder: str | nn.Module = "small-convnet",
        loss: str | nn.Module = "dino",
        loss_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        image_size: int = 32,
        prototypes: int = 2048,
        local_views: int = 4,
        local_size: int | None = None,
        optimizer: str = "adamw",
        learning_rate: float = 2e-3,
        weight_decay: float = 0.01,
    ) -> None:
        check_count("prototypes", prototypes)
        if local_views < 0:
            raise ValueError(
                f"Expected `local_views` to be at least 0 but got {local_views}"
            )
        options = loss_options
        if isinstance(loss, str) and loss in PROTOTYPE_LOSSES:
            options = {**(loss_options or {}), "output_dim": prototypes}
        super().__init__(encoder, loss, options, optimizer, learning_rate, weight_decay)
        self.local_views = local_views
        self.local_size = image_size // 2 if local_size is None else local_size
        self.student_backbone = build_encoder(encoder, in_channels)
        dim = feature_dim(self.student_backbone, in_channels, image_size)
        self.student_head = DINOProjectionHead(
            dim,
            HIDDEN_DIM,
            BOTTLENECK_DIM,
            prototypes,
            freeze_last_layer=FROZEN_EPOCHS,
        )
        self.teacher_backbone = copy.deepcopy(self.student_backbone)
        self.teacher_head = DINOProjectionHead(
            dim, HIDDEN_DIM, BOTTLENECK_DIM, prototypes
        )
        self.teacher_head.load_state_dict(self.student_head.state_dict())
        deactivate_requires_grad(self.teacher_backbone)
        deactivate_requires_grad(self.teacher_head)

    @property
    def backbone(self) -> nn.Module:
        """The encoder to use: the teacher's."""
        return self.teacher_backbone

    def views(self, data: ImageData) -> Views:
        """Two large crops, and `local_views` small ones."""
        return multi_crop(data, self.local_views, self.local_size)

    def batched_views(self, data: ImageData) -> nn.Module:
        """The same of whole batches."""
        return batched_multi_crop(data, self.local_views, self.local_size)

    def forward(self, images: Tensor) -> Tensor:
        """Student's logits (B, K) of images (B, C, H, W)."""
        features = self.student_backbone(images).flatten(start_dim=1)
        logits: Tensor = self.student_head(features)
        return logits

    @torch.no_grad()
    def teacher(self, images: Tensor) -> Tensor:
        """Teacher's logits (B, K) of images (B, C, H, W)."""
        features = self.teacher_backbone(images).flatten(start_dim=1)
        logits: Tensor = self.teacher_head(features)
        return logits

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: crops, then labels and more, unread."""
        if self.begins_step(batch_idx):
            momentum = rising_momentum(self, START_MOMENTUM)
            update_momentum(self.student_backbone, self.teacher_backbone, momentum)
            update_momentum(self.student_head, self.teacher_head, momentum)
        views = batch[0]
        loss: Tensor = self.criterion(
            [self.teacher(view) for view in views[:LARGE_CROPS]],
            [self(view) for view in views],
            epoch=self.current_epoch,
        )
        self.log("train_loss", loss, prog_bar=True, batch_size=len(views[0]))
        return loss

    def on_after_backward(self) -> None:
        """Keep the prototypes as they are at first, which steadies the start."""
        self.student_head.cancel_last_layer_gradients(self.current_epoch)

    def _check_criterion(self) -> None:
        """Refuse a criterion of two tensors."""
        signature = inspect.signature(self.criterion.forward)
        try:
            signature.bind([], [], epoch=0)
        except TypeError:
            raise TypeError(
                "Expected a criterion of lists of views, called as criterion(teacher, "
                "student, epoch=epoch), such as 'dino' or 'rkdo-dino', but got "
                f"{type(self.criterion).__name__}.forward{signature}"
            ) from None
