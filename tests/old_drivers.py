"""An NVIDIA driver that is too old for PyTorch, and does nothing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What PyTorch says of it.
OLD = "The NVIDIA driver on your system is too old (found version 11040)"
SOURCE = """
    int cuInit(unsigned flags) { return 0; }
    int cuDriverGetVersion(int *version) { *version = 11040; return 0; }
"""


def old_driver(folder: Path) -> str:
    """Compile its library into a folder, and return the folder's name."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler")
    (folder / "driver.c").write_text(SOURCE)
    command = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "driver.c"]
    subprocess.run([*command, "-o", "libcuda.so.1"], cwd=folder, check=True)
    return str(folder)
