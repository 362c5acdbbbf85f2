"""onnxruntime's accounts of sessions to its makers are off, unless you turn them on."""

import os
import subprocess
import sys

import pytest

EMBED = """
import sys
import numpy as np
from rkdo_plugin.export import EmbeddingSession

EmbeddingSession(sys.argv[1], "cpu").embed(np.zeros((1, 16, 16, 3), np.uint8))
"""
SETTING = "ORT_DISABLE_TELEMETRY"
# onnxruntime keeps no account in a CI, whatever we do.
SILENCED_BY = (SETTING, "ORT_RUNNING_UNIT_TESTS", "CI")


@pytest.fixture
def python():
    """Run lines in a new process, where nothing else keeps onnxruntime silent."""
    kept = {name: v for name, v in os.environ.items() if name not in SILENCED_BY}

    def run(lines: str, *arguments: str, **variables: str) -> str:
        command = [sys.executable, "-c", lines, *arguments]
        return subprocess.run(
            command, env=kept | variables, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    return run


def test_a_session_leaves_nothing_to_send(python, small_file, tmp_path):
    python(EMBED, str(small_file), HOME=str(tmp_path), TMPDIR=str(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_setting_of_yours_stays(python):
    lines = f"import os, rkdo_plugin.export; print(os.environ['{SETTING}'])"
    assert python(lines, **{SETTING: "0"}) == "0\n"
