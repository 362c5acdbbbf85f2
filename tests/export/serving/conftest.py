import pytest

from rkdo_plugin.export import EmbeddingSession


@pytest.fixture
def session(small_file):
    return EmbeddingSession(small_file, provider="cpu")
