"""What a recipe is: the protocol between a method and everything that trains it."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from lightly.transforms.multi_view_transform import MultiViewTransform
from lightly.transforms.simclr_transform import SimCLRTransform
from torch import Tensor, nn

from rkdo_plugin.batch_labels import BatchLabels
from rkdo_plugin.export import Encoder
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.plugins.create import create_loss
from rkdo_plugin.recipes.base.optimization import optimize
from rkdo_plugin.recipes.base.settings import (
    RecipeSettings,
    SettingsLike,
    as_settings,
)
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.encoders.feature_dim import feature_dim
from rkdo_plugin.recipes.encoders.start import Normalization, start_encoder
from rkdo_plugin.recipes.views.transforms import Views, batched, two_views
from rkdo_plugin.swap import two_tensor_names


def through(images: Tensor, encoder: nn.Module, head: nn.Module) -> Tensor:
    """The head's outputs (B, D) for images (B, C, H, W)."""
    outputs: Tensor = head(encoder(images).flatten(start_dim=1))
    return outputs


class Recipe(pl.LightningModule):
    """A `LightningModule` with a named encoder, a named criterion and an optimizer.

    `rkdo train`, `rkdo evaluate` and `rkdo export` use the members below. A recipe of
    your own derives from this class, sets `backbone` and `projection_head`, and defines
    `training_step`. It overrides the other members where it differs from SimCLR.

    Args:
        settings: An instance of the recipe's `Settings`, or a mapping of its fields, as
            a checkpoint holds them.

    Attributes:
        Settings: The dataclass of the recipe's options.
        settings: This recipe's settings.
        backbone: The encoder that is evaluated and exported.
        projection_head: The head between the features and the criterion.
        criterion: The loss.
        normalization: How the weights that the encoder started from read images; None
            where they do not say.
        augment: Makes the views of a batch on the training device; None where the
            loader's workers make them.
        normalize: Embeddings are directions: exports divide them by their norm.
        default_loss: The registered loss that is used when none is asked for.
        transform: Lightly's class of the method's published views, for images of 64
            pixels and more; see `two_views`.
        updates_field: The criterion reads embeddings of pairs, from which a response
            field can be updated. Otherwise the field's rows stay as they start.
        default_field: The start of the response field when none is asked for; None for
            no field.
        labelled: The share of the training images whose labels are shown, in (0, 1];
            None for all labels.
        reports: `rkdo evaluate` calls `report` instead of scoring frozen features.

    Raises:
        TypeError: A setting is unknown, or the criterion is called in another way.
    """

    Settings: ClassVar[type[RecipeSettings]] = RecipeSettings
    default_loss: ClassVar[str] = "ntxent"
    transform: ClassVar[type[MultiViewTransform]] = SimCLRTransform
    normalize: ClassVar[bool] = True
    updates_field: ClassVar[bool] = True
    default_field: ClassVar[str | None] = None
    reports: ClassVar[bool] = False

    settings: RecipeSettings
    backbone: nn.Module
    projection_head: nn.Module
    criterion: nn.Module
    augment: nn.Module | None
    normalization: Normalization | None = None
    labelled: float | None = None

    def __init__(self, settings: SettingsLike = None) -> None:
        super().__init__()
        settings = as_settings(settings, self.Settings)
        loss = self.default_loss if settings.loss is None else settings.loss
        self.settings = settings = replace(settings, loss=loss)
        # Lightning's `load_from_checkpoint` hands this mapping back to the constructor.
        self.save_hyperparameters({"settings": settings.plain()}, logger=False)
        self.criterion = (
            create_loss(loss, **self.loss_options()) if isinstance(loss, str) else loss
        )
        self.check_criterion()
        self.augment = None

    def forward(self, images: Tensor) -> Tensor:
        """The embeddings (B, D) of images (B, C, H, W) that the criterion reads."""
        return through(images, self.backbone, self.projection_head)

    def views(self, data: ImageData) -> Views:
        """The transform from an image to the views that a step reads."""
        return two_views(data, self.transform)

    def batched_views(self, data: ImageData) -> nn.Module:
        """The transform from whole batches, (B, C, H, W) uint8, to the same views.

        Raises:
            ValueError: The views are not made by a transform of Lightly's, or batches
                do not have all that it does.
        """
        return batched(self.views(data), data)

    def report(self, data: ImageData, folder: Path) -> str:
        """What the trained recipe has to say of a data set, if `reports` is true.

        Args:
            data: The images.
            folder: Where pictures appear.
        """
        raise NotImplementedError

    def frozen(self, data: ImageData) -> Encoder:
        """A copy of the encoder as it is now, with the data's preprocessing."""
        return Encoder(
            self.backbone, image_size=data.image_size, mean=data.mean, std=data.std
        )

    @property
    def encoder_name(self) -> str | None:
        """The registered encoder that `backbone` is; None where it is a module."""
        encoder = self.settings.encoder
        return encoder if isinstance(encoder, str) else None

    def loss_options(self) -> dict[str, Any]:
        """The arguments of a criterion given by name."""
        return self.settings.loss_options or {}

    def check_criterion(self) -> None:
        """Refuse, before anything is trained, a criterion that no step could call."""
        recipe, criterion = type(self).__name__, self.criterion
        try:
            two_tensor_names(recipe, criterion)
        except TypeError:
            raise TypeError(
                f"Expected a criterion of two tensors with {recipe} but got "
                f"{type(criterion).__name__}.forward"
                f"{inspect.signature(criterion.forward)}"
            ) from None

    def starting_encoder(self) -> nn.Module:
        """The encoder of the settings, with the weights that it starts from."""
        settings = self.settings
        encoder, self.normalization = start_encoder(
            settings.encoder,
            settings.in_channels,
            weights=settings.weights,
            branch=settings.branch,
            pretrained=settings.pretrained,
        )
        return encoder

    def try_criterion(self, batch_size: int) -> None:
        """Refuse, before anything is trained, a named loss on which a step would fail.

        One like the criterion is called as in a step, on random embeddings.

        Args:
            batch_size: B, the number of images in a step.

        Raises:
            ValueError: The loss needs something that this recipe, or its data, has not.
        """
        loss, settings = self.settings.loss, self.settings
        if not isinstance(loss, str):
            return
        if getattr(self.criterion, "reads_labels", False) and not settings.num_classes:
            raise ValueError(
                f"Expected images with classes for loss '{loss}', which reads labels, "
                "but got images without"
            )
        size = sides(settings.image_size)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            self.eval()
            dim = self(torch.zeros(1, settings.in_channels, *size)).shape[1]
            self.train()
            z0, z1 = torch.randn(2, batch_size, dim)
            try:
                self.call_criterion(create_loss(loss, **self.loss_options()), z0, z1)
            except (RuntimeError, TypeError, ValueError) as error:
                raise ValueError(
                    f"Expected a loss that takes what {type(self).__name__} has, "
                    f"embeddings ({batch_size}, {dim}), but got '{loss}', which says: "
                    f"{error}"
                ) from error

    def call_criterion(self, criterion: nn.Module, z0: Tensor, z1: Tensor) -> None:
        """Call a criterion as a step does, on embeddings (B, D) of two views."""
        if getattr(criterion, "reads_labels", False):
            labels = torch.arange(len(z0)) % self.settings.num_classes
            criterion(z0, z1, targets=labels)
        else:
            criterion(z0, z1)

    def build_encoder(self) -> tuple[nn.Module, int]:
        """The same encoder, and the number of its features."""
        settings, encoder = self.settings, self.starting_encoder()
        return encoder, feature_dim(encoder, settings.in_channels, settings.image_size)

    def log_loss(self, loss: Tensor, batch_size: int) -> Tensor:
        """Log a step's loss, and return it."""
        self.log("train_loss", loss, prog_bar=True, batch_size=batch_size)
        return loss

    def begins_step(self, batch_idx: int) -> bool:
        """Whether a batch is the first whose gradient an optimizer step takes.

        What goes along with the steps, such as a moving average of the weights, then
        moves once a step where gradients are accumulated.
        """
        return batch_idx % self.trainer.accumulate_grad_batches == 0

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make a batch's views on the device, where the loader leaves that to it."""
        if self.augment is None:
            return batch
        sources, *rest = batch
        return [self.augment(sources), *rest]

    def configure_callbacks(self) -> list[pl.Callback]:
        """Give a criterion that reads labels, such as SupCon's, those of each batch."""
        return [BatchLabels()]

    def configure_optimizers(self) -> Any:
        """The chosen optimizer, with a warm-up and a cosine decay."""
        settings = self.settings
        return optimize(
            self, settings.optimizer, settings.learning_rate, settings.weight_decay
        )
