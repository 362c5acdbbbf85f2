"""I-Con and RKDO losses for Lightly recipes, and verified ONNX export."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rkdo_plugin.clone import find_folders_beside

if TYPE_CHECKING:
    from rkdo_plugin.batch_labels import BatchLabels
    from rkdo_plugin.field import (
        ConvergenceMonitor,
        FieldCallback,
        FieldPairs,
        ResponseField,
        StopWhenFlat,
    )
    from rkdo_plugin.heads import LossHead
    from rkdo_plugin.losses import IConLoss, RecursiveLoss, RKDOLoss
    from rkdo_plugin.losses.field_target import FieldTargetLoss
    from rkdo_plugin.plugins.create import create_encoder, create_loss, create_recipe
    from rkdo_plugin.plugins.hookspecs import hookimpl
    from rkdo_plugin.recipes.base.recipe import Recipe
    from rkdo_plugin.recipes.base.settings import RecipeSettings
    from rkdo_plugin.swap import SwapLoss, swap_loss

__all__ = [
    "BatchLabels",
    "ConvergenceMonitor",
    "FieldCallback",
    "FieldPairs",
    "FieldTargetLoss",
    "IConLoss",
    "LossHead",
    "RKDOLoss",
    "Recipe",
    "RecipeSettings",
    "RecursiveLoss",
    "ResponseField",
    "StopWhenFlat",
    "SwapLoss",
    "create_encoder",
    "create_loss",
    "create_recipe",
    "hookimpl",
    "swap_loss",
]

_MODULES = {
    "BatchLabels": "batch_labels",
    "ConvergenceMonitor": "field",
    "FieldCallback": "field",
    "FieldPairs": "field",
    "FieldTargetLoss": "losses.field_target",
    "IConLoss": "losses",
    "LossHead": "heads",
    "RKDOLoss": "losses",
    "Recipe": "recipes.base.recipe",
    "RecipeSettings": "recipes.base.settings",
    "RecursiveLoss": "losses",
    "ResponseField": "field",
    "StopWhenFlat": "field",
    "SwapLoss": "swap",
    "create_encoder": "plugins.create",
    "create_loss": "plugins.create",
    "create_recipe": "plugins.create",
    "hookimpl": "plugins.hookspecs",
    "swap_loss": "swap",
}

find_folders_beside()


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `rkdo --help` needs no torch."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
