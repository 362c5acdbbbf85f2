"""I-Con and RKDO losses for Lightly recipes, and verified ONNX export."""

from rkdo_plugin.heads import LossHead
from rkdo_plugin.hookspecs import hookimpl
from rkdo_plugin.losses import IConLoss, RKDOLoss
from rkdo_plugin.plugins import create_encoder, create_loss, create_recipe
from rkdo_plugin.swap import SwapLoss, swap_loss

__all__ = [
    "IConLoss",
    "LossHead",
    "RKDOLoss",
    "SwapLoss",
    "create_encoder",
    "create_loss",
    "create_recipe",
    "hookimpl",
    "swap_loss",
]
