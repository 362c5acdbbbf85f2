"""The script that changes the code, on a module whose tests leave one gap."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)

pytest.importorskip("mutmut", reason="it makes the changes")

HALF = '''
"""Halves."""

def half(x: float = 2) -> float:
    """Half of what is above 0."""
    if x > 0:
        return x / 2
    raise ValueError(f"not {x + 1}")
'''
TESTS = """
import halves

def test_half():
    assert halves.half() == 1
"""


def test_what_no_test_notices_is_listed(tmp_path):
    (tmp_path / "halves.py").write_text(HALF)
    (tmp_path / "test_halves.py").write_text(TESTS)
    benchmarks = str(Path(__file__).parents[2] / "benchmarks")
    program = (
        "import mutants, pathlib; mutants.ROOT = pathlib.Path.cwd(); mutants.main("
        "['halves.py', '--tests', 'test_halves.py', '--kept', 'kept'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{benchmarks}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert "| halves.py | 5 | 5 | 3 |\n\n3 of 5: 60.0%, 23.1% to 88.2%" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "kept").read_text().splitlines()]
    assert {row["change"]: row["noticed"] for row in rows} == {
        "2  ->  3": True,
        "> 0  ->  >= 0": False,
        "0  ->  1": False,
        "x / 2  ->  x * 2": True,
    }
