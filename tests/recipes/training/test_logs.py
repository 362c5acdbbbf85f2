"""Metrics go on after a run that was killed."""

import errno
import os
from pathlib import Path

import pytest
from pytorch_lightning.loggers import CSVLogger

from rkdo_plugin.recipes.training.logs import Metrics, open_loggers


def test_a_line_that_a_killed_process_began_is_logged_again(tmp_path):
    text = "epoch,step,train_loss\n0,9,4.5\n0,19,4.25\n"
    for torn in ("0,2", "0", "0,,4.1\n", "0,19,4.2,7\n", "0\n"):
        (tmp_path / "metrics.csv").write_text(text + torn)
        open_loggers(tmp_path, steps_done=20)
        kept = (tmp_path / "metrics.csv").read_text().splitlines()
        assert kept == text.splitlines(), torn


LOGGED = [
    ({"train_loss": 4.5, "epoch": 0}, 9),
    ({"train_loss": 1 / 3, "epoch": 0}, 19),
    ({"field/self_mass": 0.25, "epoch": 0}, 19),  # a new column
    ({"train_loss": 4.0, "epoch": 1}, 29),
]


@pytest.fixture
def expected(tmp_path):
    """What Lightning's own logger writes."""
    folder = tmp_path / "theirs"
    theirs = CSVLogger(folder, name="", version="")
    for metrics, step in LOGGED:
        theirs.log_metrics(metrics, step)
        theirs.save()
    return (folder / "metrics.csv").read_bytes()


@pytest.mark.parametrize("stop", range(5))
def test_the_table_is_that_of_lightning_resumed_or_not(tmp_path, expected, stop):
    path, done = tmp_path / "metrics.csv", 0
    for part in (LOGGED[:stop], LOGGED[stop:]):
        metrics = Metrics(path, steps_done=done)
        for values, step in part:
            metrics.log_metrics(values, step)
            done = step + 1
    assert path.read_bytes() == expected


@pytest.mark.parametrize(("of", "call"), [(os, "link"), (Path, "replace")])
def test_a_line_that_cannot_be_written_loses_no_other(tmp_path, monkeypatch, of, call):
    metrics = Metrics(tmp_path / "metrics.csv", steps_done=0)
    for values, step in LOGGED[:2]:
        metrics.log_metrics(values, step)
    before = metrics.path.read_bytes()

    def fails(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(of, call, fails)
        with pytest.raises(OSError, match="No space left"):
            metrics.log_metrics(*LOGGED[2])
        with pytest.raises(OSError, match="No space left"):
            Metrics(metrics.path, steps_done=10)
    assert metrics.path.read_bytes() == before


def test_a_full_disk_is_told_with_the_name_of_the_table(tmp_path, monkeypatch):
    metrics = Metrics(tmp_path / "metrics.csv", steps_done=0)
    for values, step in LOGGED[:2]:
        metrics.log_metrics(values, step)
    metrics.path = type("Full", (type(metrics.path),), {})("/dev/full")
    monkeypatch.setattr(type(metrics.path), "is_file", lambda _: True)
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        metrics.log_metrics(*LOGGED[3])
