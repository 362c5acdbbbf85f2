"""The GPU tests where no GPU can be used: skipped with the reason, never an error."""

import os
import subprocess
import sys

import pytest
import torch
from checkout import ROOT
from old_drivers import OLD, old_driver

# Not `python -m pytest`: the working folder would hide the installed package.
PYTEST = "import sys, pytest; sys.path.remove(''); sys.exit(pytest.main())"


@pytest.mark.skipif(torch.version.cuda is None, reason="PyTorch is built without CUDA")
def test_a_driver_that_is_too_old_skips_them_with_the_reason(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", PYTEST, "-m", "gpu", "-q", "-rs"],
        env=os.environ | {"LD_LIBRARY_PATH": old_driver(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert child.returncode == 0, child.stdout + child.stderr
    *_, last = child.stdout.splitlines()
    assert " skipped" in last
    # No other test is collected, either: none is deselected.
    wrong = ("passed", "failed", "error", "deselected")
    assert not any(word in last for word in wrong)
    assert f"needs a GPU, but {OLD}" in child.stdout
