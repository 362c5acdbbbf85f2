"""Write a repository, and read its configuration with NVIDIA's own message."""

import importlib.util
from pathlib import Path

import pytest
from google.protobuf import text_format

from rkdo_plugin.export import write_triton_repository


@pytest.fixture(scope="module")
def nvidia():
    """NVIDIA's own messages, without the client that contains them and needs grpc."""
    package = importlib.util.find_spec("tritonclient")
    file = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def write(small_file, tmp_path):
    def call(model=small_file, **options):
        return write_triton_repository(model, tmp_path / "models", **options)

    return call


@pytest.fixture
def parsed(nvidia, tmp_path):
    def parse(name="encoder"):
        text = (tmp_path / "models" / name / "config.pbtxt").read_text()
        return text_format.Parse(text, nvidia.ModelConfig())

    return parse
