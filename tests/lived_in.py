"""Encoders as if they had been trained, and what they should embed."""

import numpy as np
import torch
from torch import nn

from rkdo_plugin.export import Encoder

MEAN, STD = [0.48, 0.45, 0.41], [0.23, 0.22, 0.26]


def lived_in(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights and BatchNorm statistics, as if the module had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.running_mean, layer.bias):
                    tensor.normal_(0, 0.1, generator=generator)
                for tensor in (layer.running_var, layer.weight):
                    tensor.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(layer, nn.Conv2d | nn.Linear):
                fan = layer.weight[0].numel()
                layer.weight.normal_(0, (2 / fan) ** 0.5, generator=generator)
    return module


def in_float64(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    """The embedding formula in numpy around the backbone in float64: the oracle."""
    pixels = (images.astype(np.float64) / 255 - MEAN) / STD
    channels_first = torch.from_numpy(np.moveaxis(pixels, 3, 1).copy())
    with torch.no_grad():
        features = encoder.backbone.double()(channels_first).numpy()
    encoder.backbone.float()
    return features / np.sqrt((features**2).sum(axis=1, keepdims=True))
