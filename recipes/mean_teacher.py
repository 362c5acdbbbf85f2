"""Mean Teacher: a student agrees with a moving average of its own weights.

[0] Mean teachers are better role models, 2017, https://arxiv.org/abs/1703.01780
"""

import copy
from typing import Any

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn

from rkdo_plugin.options import check_momentum
from rkdo_plugin.recipes.base.recipe import build_encoder
from rkdo_plugin.recipes.base.semi_supervised import SemiSupervised
from rkdo_plugin.recipes.encoders.torchvision import feature_dim


class MeanTeacher(SemiSupervised):
    """Mean Teacher with any encoder and any two-tensor criterion.

    `student_backbone` is trained; `teacher_backbone`, its moving average, is the better
    encoder, and the one that is evaluated and exported.

    Args:
        encoder: A registered encoder's name, or a module from images (B, C, H, W) to
            features (B, F) or (B, F, 1, 1).
        loss: A registered loss's name, or a criterion called as `criterion(student,
            teacher)` on probabilities (B, C), the teacher's without gradient.
        loss_options: Arguments of a loss given by name.
        in_channels: Channels of the images.
        image_size: Height and width of the images in pixels.
        num_classes: C.
        labelled: Share of the training images whose label is seen, in (0, 1].
        consistency: Weight of the criterion after its rise; 0 is the supervised
            baseline.
        momentum: Of the moving average, in [0, 1); less in the first steps.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.

    Example:
        >>> recipe = MeanTeacher(num_classes=5)
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        encoder: str | nn.Module = "small-convnet",
        loss: str | nn.Module = "consistency",
        loss_options: dict[str, Any] | None = None,
        in_channels: int = 3,
        image_size: int = 32,
        num_classes: int = 10,
        labelled: float = 0.1,
        consistency: float = 3.0,
        momentum: float = 0.9,
        optimizer: str = "adamw",
        learning_rate: float = 4e-3,
        weight_decay: float = 0.01,
    ) -> None:
        check_momentum(momentum)
        super().__init__(
            encoder,
            loss,
            loss_options,
            num_classes,
            labelled,
            consistency,
            optimizer,
            learning_rate,
            weight_decay,
        )
        self.momentum = momentum
        self.student_backbone = build_encoder(encoder, in_channels)
        dim = feature_dim(self.student_backbone, in_channels, image_size)
        self.student_head = nn.Linear(dim, num_classes)
        self.teacher_backbone = copy.deepcopy(self.student_backbone)
        self.teacher_head = copy.deepcopy(self.student_head)
        deactivate_requires_grad(self.teacher_backbone)
        deactivate_requires_grad(self.teacher_head)

    @property
    def backbone(self) -> nn.Module:
        """The encoder to use: the teacher's."""
        return self.teacher_backbone

    def classifiers(self) -> dict[str, nn.Module]:
        """The teacher and the student."""
        return {
            "teacher": nn.Sequential(
                self.teacher_backbone, nn.Flatten(), self.teacher_head
            ),
            "student": nn.Sequential(
                self.student_backbone, nn.Flatten(), self.student_head
            ),
        }

    def forward(self, images: Tensor) -> Tensor:
        """Student's logits (B, C) of images (B, C, H, W)."""
        features = self.student_backbone(images).flatten(start_dim=1)
        logits: Tensor = self.student_head(features)
        return logits

    @torch.no_grad()
    def teacher(self, images: Tensor) -> Tensor:
        """Teacher's probabilities (B, C) of images (B, C, H, W)."""
        features = self.teacher_backbone(images).flatten(start_dim=1)
        logits: Tensor = self.teacher_head(features)
        return logits.softmax(dim=1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels, -1 where hidden."""
        if self.begins_step(batch_idx):
            step = self.trainer.global_step
            momentum = min(1 - 1 / (step + 1), self.momentum)
            update_momentum(self.student_backbone, self.teacher_backbone, momentum)
            update_momentum(self.student_head, self.teacher_head, momentum)
        view0, view1 = batch[0]
        return self.loss_of(self(view0), self.teacher(view1), batch[1])
