"""The fuzzing script in small: each reader, and that it finds what it looks for."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)

import fuzz
from fuzz_content import TARGETS, Target

CASES = 12


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_content_is_refused_or_read_as_what_it_is(name, tmp_path):
    counts = np.zeros(4, int)
    assert fuzz.attack(name, range(CASES), 0, tmp_path, counts) == []
    assert counts[0] + counts[1] == CASES and not list(tmp_path.iterdir())


def attacked(monkeypatch, tmp_path, read, **options):
    """What is found with a reader of ten letters."""
    made = Target([b"abcdefghij"], read, **options)
    monkeypatch.setitem(TARGETS, "made", lambda _: made)
    counts = np.zeros(4, int)
    found = fuzz.attack("made", range(20), 0, tmp_path, counts)
    assert counts[2] == len(list(tmp_path.iterdir()))
    return found


def raises(error):
    def read(content):
        raise error

    return read


def test_each_kind_of_fault_is_found(monkeypatch, tmp_path):
    def found(read, **options):
        return attacked(monkeypatch, tmp_path, read, **options)

    assert found(raises(ValueError("Expected x"))) == []
    (each,) = found(raises(KeyError("x")))
    assert "KeyError" in each
    (each,) = found(raises(ValueError("x")))
    assert each.startswith("unclear: ")
    (each,) = found(lambda content: np.ones(fuzz.MEMORY))
    assert "Unable to allocate" in each
    assert found(len, guarded=True) == ["accepted below a checksum"]
    monkeypatch.setattr(fuzz, "SECONDS", 0.01)
    (each,) = found(lambda content: [time.monotonic() for _ in range(10**6)])
    assert "TooLongError" in each


WATCHED = """
import sys
sys.path.append({benchmarks!r})
import fuzz, pathlib
from fuzz_content import TARGETS, Target
TARGETS.clear()
def crash(content):
    import ctypes
    ctypes.string_at(0)
def run(content):
    import os
    os.system("true")
def write(content):
    open("elsewhere", "w")
for read in (crash, run, write):
    TARGETS[read.__name__] = lambda _, read=read: Target([b"abc"], read)
fuzz.main(["--cases", "2", "--kept", "kept"])
"""


@pytest.mark.slow
def test_crashes_programs_and_files_elsewhere_are_faults(tmp_path):
    benchmarks = str(Path(fuzz.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(benchmarks=benchmarks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    for name in ("crash", "run", "write"):
        assert f"| {name} | 2 | 0 | 0 | 2 |" in done.stdout
    assert "ended by signal 11" in done.stdout + done.stderr
    assert done.returncode == 1 and not (tmp_path / "elsewhere").exists()
    assert len(list((tmp_path / "kept").iterdir())) == 6
