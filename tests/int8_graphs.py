"""Small networks that 8 bits treat badly, and what onnxruntime computes of a graph."""

import itertools

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from rkdo_plugin.export import Encoder

SIZE, WIDTH, OUTLIER = 16, 24, 400.0


def as_encoder(backbone: nn.Module) -> Encoder:
    return Encoder(backbone, image_size=SIZE, mean=[0.45] * 3, std=[0.25] * 3)


class Chain(nn.Module):
    """Five convolutions. One channel between the third and the fourth is very large.

    The fourth divides it by what the third multiplied it with, so in float32 nothing
    changes. With 8 bits for all channels the others between these two are lost.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = [3, WIDTH, WIDTH, WIDTH, WIDTH, WIDTH]
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths)
        )
        with torch.no_grad():
            self.layers[2].weight[0] *= OUTLIER
            self.layers[2].bias[0] *= OUTLIER
            self.layers[3].weight[:, 0] /= OUTLIER

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x.mean((2, 3))


class Residual(nn.Module):
    """Blocks that add their input to their result, as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = torch.relu(x + block(x))
        return x.mean((2, 3))


def outputs(
    model: onnx.ModelProto, images: np.ndarray, names=("embedding",)
) -> list[np.ndarray]:
    """What onnxruntime computes, as the graph says and without any fusion."""
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(names), {"image": images})
