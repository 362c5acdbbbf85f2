import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx

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


@pytest.fixture(scope="session")
def make_small() -> Callable[..., Encoder]:
    def make(seed: int = 0, image_size: int = 16) -> Encoder:
        backbone = lived_in(create_encoder("small-convnet"), seed)
        return Encoder(backbone, image_size=image_size, mean=MEAN, std=STD)

    return make


@pytest.fixture(scope="session")
def make_resnet18() -> Callable[[], Encoder]:
    def make() -> Encoder:
        backbone = torchvision.models.resnet18()
        backbone.fc = nn.Identity()
        return Encoder(lived_in(backbone), image_size=32, mean=MEAN, std=STD)

    return make


@pytest.fixture(scope="session")
def oracle() -> Callable[[Encoder, np.ndarray], np.ndarray]:
    return in_float64


@pytest.fixture(scope="session")
def small_file(
    make_small: Callable[..., Encoder], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An exported small encoder; tests copy it before they change it."""
    path = tmp_path_factory.mktemp("exported") / "small.onnx"
    export_onnx(make_small(), path)
    return path


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def copied(small_file, tmp_path):
    """A copy of an export, with its manifest."""
    for name in ("small.onnx", "small.onnx.sha256"):
        shutil.copy(small_file.with_name(name), tmp_path)
    return tmp_path / "small.onnx"
