"""Momentum copies: moving averages of a recipe's own weights."""

import copy

from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from rkdo_plugin.recipes.base.recipe import Recipe


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


def rising_momentum(recipe: Recipe, start: float) -> float:
    """The momentum of a step: it rises along a cosine from `start` to 1."""
    trainer = recipe.trainer
    steps = int(trainer.estimated_stepping_batches)
    return float(cosine_schedule(trainer.global_step, steps, start, 1.0))
