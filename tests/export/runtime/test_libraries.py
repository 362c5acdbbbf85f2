"""Two packages of onnxruntime are reported."""

from importlib import metadata

import pytest

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.runtime import libraries


def test_two_onnxruntimes_are_reported(small_file, monkeypatch):
    monkeypatch.setattr(libraries, "version", lambda _: "1.31.1")
    with pytest.warns(UserWarning, match="both onnxruntime and onnxruntime-gpu"):
        EmbeddingSession(small_file)


def test_one_onnxruntime_is_not(small_file, recwarn):
    EmbeddingSession(small_file)
    assert len(recwarn) == 0
    installed = {each.metadata["Name"] for each in metadata.distributions()}
    assert len(installed & {"onnxruntime", "onnxruntime-gpu"}) == 1
