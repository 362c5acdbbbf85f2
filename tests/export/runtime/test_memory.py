"""What was freed goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from rkdo_plugin.export.runtime import memory

PIECES = """
import ctypes
from pathlib import Path
from rkdo_plugin.export.runtime.memory import give_back

libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

pieces = [libc.malloc(2**16) for _ in range(2000)]
for piece in pieces:
    ctypes.memset(piece, 1, 2**16)
for piece in pieces[:-1]:  # the last one holds the heap's end
    libc.free(piece)
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(
    not Path("/lib64/ld-linux-x86-64.so.2").exists(), reason="needs glibc"
)
def test_free_pieces_in_the_middle_go_back():
    command = [sys.executable, "-c", PIECES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100e6


@pytest.mark.parametrize("lacking", [OSError, AttributeError])
def test_a_system_without_it_goes_on(monkeypatch, lacking):
    def refuse(name):
        raise lacking(name)

    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    memory.give_back()
