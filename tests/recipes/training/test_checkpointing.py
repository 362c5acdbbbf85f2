"""A run that was stopped, or killed, and resumed equals one that never was."""

import csv
import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
import pytorch_lightning as pl
from runs import CtrlC, assert_equal, saved, state, train

from rkdo_plugin.alone import alone
from rkdo_plugin.recipes.training import train as training
from rkdo_plugin.recipes.training.logs import Metrics

SCRIPT = """
import sys
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train
settings = RunSettings(epochs=2000, batch_size=64, limit=256)
try:
    train(settings, sys.argv[1], Execution(workers=2, progress=False))
except KeyboardInterrupt as stop:  # torch's exit handlers may change Python's status
    sys.exit(f"KeyboardInterrupt: {stop}")
"""
KILLED = """
import json, os, signal, sys
import pytorch_lightning as pl
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train

class Kill(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)

settings = RunSettings(**json.loads(sys.argv[2]))
execution = Execution(workers=0, checkpoint_every=2, progress=False)
train(settings, sys.argv[1], execution, callbacks=[Kill()])
"""


def assert_same_run(folder, other):
    one, two = saved(folder), saved(other)
    assert one["global_step"] == two["global_step"] == 12
    for part in ("state_dict", "lr_schedulers"):
        assert_equal(one[part], two[part])
    optimizers = (run["optimizer_states"][0]["state"] for run in (one, two))
    assert_equal(*optimizers)
    assert read_metrics(folder) == read_metrics(other)


def read_metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return [(int(row["step"]), row["train_loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("recipe", "step", "workers", "resumed_workers"),
    [
        ("simclr", 0, 0, 0),  # after the very first step
        ("simclr", 5, 2, 2),  # within the second epoch
        ("simclr", 7, 0, 2),  # in the last step of an epoch
        ("byol", 9, 0, 0),
        ("simclr", 11, 0, 0),  # in the last step of the run
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    uninterrupted, tmp_path, settings, recipe, step, workers, resumed_workers
):
    with pytest.raises(KeyboardInterrupt, match=f"stopped after step {step + 1} of 12"):
        train(
            recipe,
            out=str(tmp_path),
            workers=workers,
            callbacks=[CtrlC(step)],
            **settings,
        )
    assert saved(tmp_path)["global_step"] == step + 1
    train(recipe, out=str(tmp_path), workers=resumed_workers, resume=True, **settings)
    assert_same_run(uninterrupted[recipe], tmp_path)


def test_interrupted_twice(uninterrupted, tmp_path, settings):
    for step, resume in ((1, False), (6, True)):
        with pytest.raises(KeyboardInterrupt):
            train(
                out=str(tmp_path),
                workers=0,
                resume=resume,
                callbacks=[CtrlC(step)],
                **settings,
            )
    train(out=str(tmp_path), workers=0, resume=True, **settings)
    assert_same_run(uninterrupted["simclr"], tmp_path)


class Crash(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 6:
            raise RuntimeError("power cut")


def test_a_crash_resumes_from_the_last_epoch(uninterrupted, tmp_path, settings):
    with pytest.raises(RuntimeError, match="power cut"):
        train(out=str(tmp_path), workers=0, callbacks=[Crash()], **settings)
    train(out=str(tmp_path), workers=0, resume=True, **settings)
    assert_same_run(uninterrupted["simclr"], tmp_path)


def test_ctrl_c_in_a_terminal_reaches_workers_too(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path.parent,
        start_new_session=True,
    )
    try:
        while not (tmp_path / "last.ckpt").exists():
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt: stopped after step" in errors
    assert process.returncode == 1
    assert f"stopped after step {saved(tmp_path)['global_step']} of 8000" in errors


def test_the_seed_decides(uninterrupted, tmp_path, settings):
    train(out=str(tmp_path / "same"), workers=2, **settings)
    assert_same_run(uninterrupted["simclr"], tmp_path / "same")
    train(out=str(tmp_path / "other"), workers=0, seed=1, **settings)
    losses = read_metrics(tmp_path / "other"), read_metrics(tmp_path / "same")
    assert losses[0] != losses[1]


def test_killed_mid_epoch_loses_no_more_than_the_steps_since(
    uninterrupted, tmp_path, settings
):
    run = {k: v for k, v in settings.items() if k != "progress"}
    command = [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(run)]
    killed = subprocess.run(command, capture_output=True, cwd=tmp_path.parent)
    assert killed.returncode == -signal.SIGKILL
    assert state(tmp_path)["global_step"] == 6  # of 4 an epoch
    assert not [path for path in tmp_path.iterdir() if path.name[0] == "."]
    train(out=str(tmp_path), resume=True, workers=0, **run)
    assert_equal(state(tmp_path), state(uninterrupted["simclr"]))
    assert read_metrics(tmp_path) == read_metrics(uninterrupted["simclr"])


STEPS = {"epochs": 1, "limit": 176, "batch_size": 16, "workers": 0}  # 11, 1 logged


@pytest.fixture(scope="module")
def eleven_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eleven")
    train(out=folder, **STEPS)
    return folder


def test_a_stop_at_a_step_that_is_logged_loses_no_line(eleven_steps, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="stopped after step 10 of 11;"):
        train(out=tmp_path, callbacks=[CtrlC(9)], **STEPS)
    assert [step for step, _ in read_metrics(tmp_path)] == [9]
    train(out=tmp_path, resume=True, **STEPS)
    assert read_metrics(tmp_path) == read_metrics(eleven_steps)


def failing_at(monkeypatch, count):
    """Let the disk be full when values are logged for the so many-th time."""
    log, calls = Metrics.log_metrics, []

    def full(*arguments, **named):
        calls.append(1)
        if len(calls) == count:
            raise OSError(errno.ENOSPC, "No space left on device")
        log(*arguments, **named)

    monkeypatch.setattr(Metrics, "log_metrics", full)


def test_a_checkpoint_does_not_appear_before_its_step_is_logged(
    eleven_steps, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        failing_at(patched, 1)
        train(out=tmp_path, checkpoint_every=10, **STEPS)
    train(out=tmp_path, resume=True, **STEPS)
    assert read_metrics(tmp_path) == read_metrics(eleven_steps)
    assert_equal(state(tmp_path), state(eleven_steps))


@pytest.mark.parametrize("count", [2, 6])  # of two for each of three epochs
def test_a_checkpoint_does_not_appear_before_its_epoch_is_logged(
    run_with_field, tmp_path, monkeypatch, count
):
    whole = run_with_field("pixels", 3)
    options = {"loss": "icon", "limit": 200, "batch_size": 64, "workers": 0}
    options |= {"epochs": 3, "field": "pixels", "field_options": {}, "out": tmp_path}
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        failing_at(patched, count)
        train(**options)
    assert (tmp_path / "last.ckpt").exists() == (count == 6)
    train(**options, resume=True)
    names = ("metrics.csv", "config.yaml")
    for one, other in ((tmp_path / name, whole / name) for name in names):
        assert one.read_text() == other.read_text()
    assert_equal(state(tmp_path), state(whole))


def test_a_full_disk_keeps_the_checkpoint_before(
    uninterrupted, tmp_path, settings, monkeypatch
):
    def full(*_):
        if (tmp_path / "last.ckpt").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*_)

    # A checkpoint needs no room elsewhere.
    monkeypatch.setattr(tempfile, "mkstemp", None)
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match=rf"No space left .*{tmp_path}/last\.ckpt"):
            train(out=tmp_path, workers=0, **settings)
    assert saved(tmp_path)["global_step"] == 4
    assert not [path for path in tmp_path.iterdir() if path.name[0] == "."]
    train(out=tmp_path, workers=0, resume=True, **settings)
    assert_same_run(uninterrupted["simclr"], tmp_path)


def test_a_checkpoint_elsewhere_is_written_at_once(tmp_path, settings):
    class Both(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            trainer.save_checkpoint(tmp_path / "other.ckpt")
            assert (tmp_path / "other.ckpt").exists()

    (tmp_path / "run").mkdir()
    train(out=tmp_path / "run", workers=0, callbacks=[Both()], **settings)
    assert saved(tmp_path / "run")["global_step"] == 12


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such locks")
def test_of_two_processes_in_one_run_the_second_is_refused(
    uninterrupted, tmp_path, settings, monkeypatch
):
    run = uninterrupted["simclr"]
    before = (run / "last.ckpt").read_bytes()
    with (
        alone(run / "config.yaml"),
        pytest.raises(BlockingIOError, match=rf"write into {run} but one does"),
    ):
        train(out=run, workers=0, resume=True, **settings)
    assert (run / "last.ckpt").read_bytes() == before

    load = training.load_data

    def another_begins(*arguments, **options):
        shutil.copytree(run, tmp_path / "run")
        return load(*arguments, **options)

    monkeypatch.setattr(training, "load_data", another_begins)
    with pytest.raises(FileExistsError, match="a new folder but it is not empty"):
        train(out=tmp_path / "run", workers=0, **settings)
    assert (tmp_path / "run" / "last.ckpt").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_a_killed_worker_is_an_error_in_words(tmp_path, settings):
    class KillWorker(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            (worker,) = multiprocessing.active_children()
            if trainer.global_step == 5:
                worker.kill()

    with pytest.raises(
        RuntimeError, match=r"process that loads images was killed, .*pid"
    ):
        train(out=tmp_path, workers=1, callbacks=[KillWorker()], **settings)
    assert saved(tmp_path)["global_step"] == 4
