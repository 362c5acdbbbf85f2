"""Mean Teacher: a student agrees with a moving average of its own weights.

[0] Mean teachers are better role models, 2017, https://arxiv.org/abs/1703.01780
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rkdo_plugin.options import check_below_one
from rkdo_plugin.recipes.base.momentum import (
    momentum_copy,
    move_copies,
    without_gradient,
)
from rkdo_plugin.recipes.base.recipe import through
from rkdo_plugin.recipes.base.settings import SettingsLike
from rkdo_plugin.recipes.semi_supervised import (
    SemiSupervised,
    SemiSupervisedSettings,
)


@dataclass(frozen=True)
class MeanTeacherSettings(SemiSupervisedSettings):
    """Settings of `MeanTeacher`.

    Args:
        momentum: Momentum of the moving average, in [0, 1). It is lower in the first
            steps.
    """

    consistency: float = 3.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_below_one("momentum", self.momentum)


class MeanTeacher(SemiSupervised):
    """Mean Teacher with any encoder and any criterion of two tensors.

    `student_backbone` is trained. `teacher_backbone`, its moving average, is the better
    encoder, and the one that is evaluated and exported. The criterion is called as
    `criterion(student, teacher)` on probabilities (B, C). The teacher's carry no
    gradient.

    Example:
        >>> recipe = create_recipe("mean-teacher", num_classes=5)
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 5])
    """

    Settings = MeanTeacherSettings
    settings: MeanTeacherSettings

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.student_backbone, dim = self.build_encoder()
        self.student_head = nn.Linear(dim, self.settings.num_classes)
        self.teacher_backbone = momentum_copy(self.student_backbone)
        self.teacher_head = momentum_copy(self.student_head)

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
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
        """The student's logits (B, C) of images (B, C, H, W)."""
        return through(images, self.student_backbone, self.student_head)

    def teacher(self, images: Tensor) -> Tensor:
        """The teacher's probabilities (B, C), without gradient."""
        logits = without_gradient(images, self.teacher_backbone, self.teacher_head)
        return logits.softmax(dim=1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: two views, then labels, -1 where hidden."""
        move_copies(
            self,
            batch_idx,
            min(1 - 1 / (self.trainer.global_step + 1), self.settings.momentum),
            (self.student_backbone, self.teacher_backbone),
            (self.student_head, self.teacher_head),
        )
        view0, view1 = batch[0]
        return self.loss_of(self(view0), self.teacher(view1), batch[1])
