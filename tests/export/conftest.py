import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torchvision
from lived_in import MEAN, STD, in_float64, lived_in
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, export_onnx
from rkdo_plugin.export.runtime.providers import WEIGHTS_BESIDE


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
def weights_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports have too many weights for one file, from here on."""
    if not hasattr(onnxruntime.SessionOptions(), WEIGHTS_BESIDE):
        pytest.skip("this onnxruntime reads no weights beside a graph")
    monkeypatch.setattr("rkdo_plugin.export.onnx.MAX_BYTES", 1000)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def copied(small_file, tmp_path):
    """A copy of an export, with its manifest."""
    for name in ("small.onnx", "small.onnx.sha256"):
        shutil.copy(small_file.with_name(name), tmp_path)
    return tmp_path / "small.onnx"
