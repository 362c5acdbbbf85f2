"""PyTorch's reason is passed on, in a sentence."""

import os
import re
import subprocess
import sys

import pytest
import torch
from old_drivers import OLD, old_driver

from rkdo_plugin.export.runtime.cuda_fault import cuda_fault

PRINT = """
from rkdo_plugin.export.runtime.cuda_fault import cuda_fault
print(cuda_fault())
"""


@pytest.mark.skipif(torch.version.cuda is None, reason="PyTorch is built without CUDA")
def test_a_driver_that_is_too_old(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", PRINT],
        env=os.environ | {"LD_LIBRARY_PATH": old_driver(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (child.stdout, child.stderr) == (f"{OLD}\n", "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_there_is_a_reason():
    reason = cuda_fault()
    assert reason is not None and not reason.endswith(".") and "\n" not in reason


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AssertionError("Torch not compiled with CUDA enabled"), "Torch not compiled"),
        (
            RuntimeError("CUDA error: no kernel\nCompile with"),
            "CUDA error: no kernel$",
        ),
        (RuntimeError("Found no driver. Please check that"), "Found no driver$"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_every_error_of_pytorch_is_a_reason(error, reason, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(torch, "ones", fail)
    found = cuda_fault()
    assert found is not None and re.match(reason, found)


def test_a_gpu_that_computes_has_no_fault(monkeypatch):
    one = torch.ones(1)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: one)
    assert cuda_fault() is None
    one.fill_(5)
    assert cuda_fault() == "the GPU computed 1 + 1 = 6.0"
