"""Momentum copies: moving averages of a recipe's own weights."""

import copy

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from rkdo_plugin.recipes.base.recipe import Recipe, through


def momentum_copy(module: nn.Module) -> nn.Module:
    """A copy of a module that gets no gradient; `move_copies` moves it."""
    copied = copy.deepcopy(module)
    deactivate_requires_grad(copied)
    return copied


def move_copies(
    recipe: Recipe,
    batch_idx: int,
    momentum: float,
    *pairs: tuple[nn.Module, nn.Module],
) -> None:
    """Move each copy towards the module that it is of, once an optimizer step.

        copy <- momentum copy + (1 - momentum) module

    Args:
        recipe: Says which batches begin a step.
        batch_idx: The batch's number in its epoch.
        momentum: In [0, 1].
        pairs: Each module with its copy.
    """
    if recipe.begins_step(batch_idx):
        for module, copied in pairs:
            update_momentum(module, copied, momentum)


@torch.no_grad()
def without_gradient(images: Tensor, encoder: nn.Module, head: nn.Module) -> Tensor:
    """The head's outputs (B, D) for images (B, C, H, W), without gradient."""
    return through(images, encoder, head)


class MomentumRecipe(Recipe):
    """A recipe whose targets come from momentum copies of its encoder and its head."""

    backbone_momentum: nn.Module
    projection_head_momentum: nn.Module

    def add_copies(self) -> None:
        """Copy the encoder and the projection head as they are at the start."""
        self.backbone_momentum = momentum_copy(self.backbone)
        self.projection_head_momentum = momentum_copy(self.projection_head)

    def move_copies(self, batch_idx: int, start: float) -> None:
        """Move both copies, by a momentum that rises from `start` to 1."""
        move_copies(
            self,
            batch_idx,
            rising_momentum(self, start),
            (self.backbone, self.backbone_momentum),
            (self.projection_head, self.projection_head_momentum),
        )

    def target(self, images: Tensor) -> Tensor:
        """The copies' embeddings (B, D) of images (B, C, H, W), without gradient."""
        return without_gradient(
            images, self.backbone_momentum, self.projection_head_momentum
        )


def rising_momentum(recipe: Recipe, start: float) -> float:
    """The momentum of a step: it rises along a cosine from `start` to 1."""
    trainer = recipe.trainer
    steps = int(trainer.estimated_stepping_batches)
    return float(cosine_schedule(trainer.global_step, steps, start, 1.0))
