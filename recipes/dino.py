"""DINO: a student finds, from any crop, what its moving average says of large ones.

[0] DINO, 2021, https://arxiv.org/abs/2104.14294
"""

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

from lightly.models.modules.heads import DINOProjectionHead
from lightly.models.utils import deactivate_requires_grad
from torch import Tensor, nn

from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.base.momentum import (
    momentum_copy,
    move_copies,
    rising_momentum,
    without_gradient,
)
from rkdo_plugin.recipes.base.recipe import Recipe, through
from rkdo_plugin.recipes.base.settings import RecipeSettings, SettingsLike
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim
from rkdo_plugin.recipes.views.transforms import Views, multi_crop, small_crop

HIDDEN_DIM = 512  # width of the head
BOTTLENECK_DIM = 64  # size of the embeddings before the prototypes
START_MOMENTUM = 0.99  # momentum of the teacher at the first step; it rises to 1
FROZEN_EPOCHS = 1  # during which the prototypes stay as they are
PROTOTYPE_LOSSES = ("dino", "rkdo-dino")  # their `output_dim` is the recipe's
LARGE_CROPS = 2  # the crops that the teacher sees


@dataclass(frozen=True)
class DINOSettings(RecipeSettings):
    """Settings of `DINO`.

    Args:
        prototypes: K, the number of prototypes.
        local_views: Number of small crops.
        local_size: Shorter side of the small crops in pixels. By default 3/7 of the
            image's, as 96 of 224, and half of it below 64 pixels.
    """

    learning_rate: float = 2e-3
    prototypes: int = 2048
    local_views: int = 4
    local_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("prototypes", self.prototypes)
        check_count("local_views", self.local_views, least=0)
        if self.local_size is not None:
            check_count("local_size", self.local_size)


class DINO(Recipe):
    """DINO with any encoder: multi-crop, centring and sharpening.

    `student_backbone` is trained. `teacher_backbone`, its moving average, is the better
    encoder, and the one that is evaluated and exported. The encoder has to take images
    of two sizes where `local_views` is not 0.

    The criterion is called as `criterion(teacher, student, epoch=epoch)` with lists of
    logits (B, K) of the prototypes, one for each view. "dino" and "rkdo-dino" are two.

    Example:
        >>> recipe = create_recipe("dino", prototypes=1024)
        >>> recipe(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 1024])
    """

    Settings = DINOSettings
    settings: DINOSettings
    default_loss = "dino"
    updates_field = False  # the criterion's lists are no embeddings of pairs

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__(settings)
        self.student_backbone, dim = self.build_encoder()
        if self.settings.local_views:
            small = small_crop(self.settings.image_size, self.settings.local_size)
            channels = self.settings.in_channels
            feature_dim(self.student_backbone, channels, small, "local_size")
        sizes = (dim, HIDDEN_DIM, BOTTLENECK_DIM, self.settings.prototypes)
        self.student_head = _head(*sizes, freeze_last_layer=FROZEN_EPOCHS)
        self.teacher_backbone = momentum_copy(self.student_backbone)
        # Not `momentum_copy`: PyTorch cannot copy the head's normalised weights.
        self.teacher_head = _head(*sizes)
        self.teacher_head.load_state_dict(self.student_head.state_dict())
        deactivate_requires_grad(self.teacher_head)

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """The encoder to use: the teacher's."""
        return self.teacher_backbone

    def views(self, data: ImageData) -> Views:
        """Two large crops, and `local_views` small ones."""
        return multi_crop(data, self.settings.local_views, self.settings.local_size)

    def forward(self, images: Tensor) -> Tensor:
        """The student's logits (B, K) of images (B, C, H, W)."""
        return through(images, self.student_backbone, self.student_head)

    def teacher(self, images: Tensor) -> Tensor:
        """The teacher's logits (B, K), without gradient."""
        return without_gradient(images, self.teacher_backbone, self.teacher_head)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a Lightly batch: crops, then labels and more, unread."""
        move_copies(
            self,
            batch_idx,
            rising_momentum(self, START_MOMENTUM),
            (self.student_backbone, self.teacher_backbone),
            (self.student_head, self.teacher_head),
        )
        views = batch[0]
        loss: Tensor = self.criterion(
            [self.teacher(view) for view in views[:LARGE_CROPS]],
            [self(view) for view in views],
            epoch=self.current_epoch,
        )
        return self.log_loss(loss, len(views[0]))

    def on_after_backward(self) -> None:
        """Keep the prototypes as they are at first, which steadies the start."""
        self.student_head.cancel_last_layer_gradients(self.current_epoch)

    def loss_options(self) -> dict[str, Any]:
        """The arguments of the loss; its number of prototypes is the recipe's."""
        options = super().loss_options()
        if self.settings.loss in PROTOTYPE_LOSSES:
            options = options | {"output_dim": self.settings.prototypes}
        return options

    def call_criterion(self, criterion: nn.Module, z0: Tensor, z1: Tensor) -> None:
        """Call a criterion as a step does, on logits (B, K) of two views."""
        criterion([z0, z1], [z0, z1], epoch=0)

    def check_criterion(self) -> None:
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


def _head(*sizes: int, freeze_last_layer: int = -1) -> DINOProjectionHead:
    """Lightly's head, without the warning that it normalises weights the older way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm.*", FutureWarning)
        return DINOProjectionHead(*sizes, freeze_last_layer=freeze_last_layer)
