"""What every recipe shares: its settings, its criterion and its optimizer."""

import inspect
from typing import Any

import pytorch_lightning as pl
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from rkdo_plugin.batch_labels import BatchLabels
from rkdo_plugin.plugins.create import create_encoder, create_loss
from rkdo_plugin.recipes.base.optimization import optimize
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.views.transforms import Views, batched_two_views, two_views
from rkdo_plugin.swap import two_tensor_names


class Recipe(pl.LightningModule):
    """A `LightningModule` whose criterion goes by name, with an optimizer.

    `augment` makes the views of a batch on the device that trains; None where the
    loader makes them. A recipe adds its networks, `training_step`, and `forward`, which
    gives the embeddings that the criterion reads.

    Args:
        encoder: Recorded where it goes by name.
        loss: A registered loss's name, or a criterion.
        loss_options: Arguments of a loss given by name.
        optimizer: "adamw", "sgd" or "lars".
        learning_rate: Its peak.
        weight_decay: Of matrices and kernels.
    """

    def __init__(
        self,
        encoder: str | nn.Module,
        loss: str | nn.Module,
        loss_options: dict[str, Any] | None,
        optimizer: str,
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        super().__init__()
        modules = {"encoder": encoder, "loss": loss}
        # Those of the recipe's own constructor are found as well.
        self.save_hyperparameters(
            logger=False,
            ignore=[name for name in modules if isinstance(modules[name], nn.Module)],
        )
        self.criterion: nn.Module = (
            create_loss(loss, **(loss_options or {})) if isinstance(loss, str) else loss
        )
        self._check_criterion()
        self.augment: nn.Module | None = None
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay

    def _check_criterion(self) -> None:
        """Refuse, before anything is trained, what a step could not call."""
        recipe, criterion = type(self).__name__, self.criterion
        try:
            two_tensor_names(recipe, criterion)
        except TypeError:
            raise TypeError(
                f"Expected a criterion of two tensors with {recipe} but got "
                f"{type(criterion).__name__}.forward"
                f"{inspect.signature(criterion.forward)}"
            ) from None

    def views(self, data: ImageData) -> Views:
        """The transform from an image to the views that a step reads."""
        return two_views(data)

    def batched_views(self, data: ImageData) -> nn.Module:
        """The same of whole batches, from images (B, C, H, W) uint8."""
        return batched_two_views(data)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make a batch's views here, where the loader leaves that to the recipe."""
        if self.augment is None:
            return batch
        sources, *rest = batch
        return [self.augment(sources), *rest]

    def configure_callbacks(self) -> list[pl.Callback]:
        """Criteria that read labels, such as SupCon's, get those of each batch."""
        return [BatchLabels()]

    def begins_step(self, batch_idx: int) -> bool:
        """Whether a batch is the first whose gradient an optimizer step takes.

        What goes along with the steps, such as a moving average of the weights, then
        does so once a step where gradients are accumulated.
        """
        return batch_idx % self.trainer.accumulate_grad_batches == 0

    def configure_optimizers(self) -> Any:
        """The chosen optimizer, with a warm-up and a cosine decay."""
        return optimize(self, self.optimizer, self.learning_rate, self.weight_decay)


def build_encoder(encoder: str | nn.Module, in_channels: int) -> nn.Module:
    """A registered encoder by name, or the module itself."""
    if isinstance(encoder, nn.Module):
        return encoder
    network: nn.Module = create_encoder(encoder, in_channels=in_channels)
    return network


def rising_momentum(recipe: pl.LightningModule, start: float) -> float:
    """Momentum of a moving average of weights: along a cosine from `start` to 1."""
    trainer = recipe.trainer
    steps = int(trainer.estimated_stepping_batches)
    return float(cosine_schedule(trainer.global_step, steps, start, 1.0))
