"""Long runs, in small."""

import os
import sys

import pytest
import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("export", 2),
        pytest.param("train", 20, marks=pytest.mark.slow),
        pytest.param("serve", 100, marks=pytest.mark.slow),
    ],
)
def test_a_table_comes_out(kind, count, capsys):
    soak.soak(kind, count)
    told = capsys.readouterr().out
    assert told.startswith(f"{count} ") and "open files" in told


def test_what_grows_is_named(tmp_path, capsys):
    watch = soak.Watch(os.getpid(), 110, tmp_path)
    held = []
    for number in range(1, 111):
        held.append((tmp_path / f"{number}").open("w"))
        watch.step(number)
    for file in held:
        file.close()
    assert watch.report("110 files") == ["open files", "temporary files"]
    row = next(x for x in capsys.readouterr().out.splitlines() if "temporary" in x)
    assert row.split()[2:] == ["15.5", "105.5", "110.0"]
