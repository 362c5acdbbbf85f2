"""Checkpoints of one-layer networks, which differ by their weight."""

from pathlib import Path

import torch
from pytorch_lightning import LightningModule
from torch import nn

PREPROCESSING = {"image_size": 16, "mean": [0.5] * 3, "std": [0.25] * 3}


def conv(weight: float) -> nn.Module:
    """Make a one-layer backbone."""
    module = nn.Conv2d(3, 2, 1)
    nn.init.constant_(module.weight, weight)
    return module


def saved(path: Path, modules: dict, wrap: str = "", **extra: object) -> Path:
    """Save a recipe of modules as Lightning does, with a prefix before every name."""

    class Recipe(LightningModule):
        pass

    recipe = Recipe()
    for name, module in modules.items():
        setattr(recipe, name, module)
    state = {wrap + key: value for key, value in recipe.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1, **extra}, path)
    return path


def weight_of(encoder: nn.Module) -> float:
    """Read the weight of a frozen one-layer backbone."""
    return encoder.backbone.weight[0, 0].item()
