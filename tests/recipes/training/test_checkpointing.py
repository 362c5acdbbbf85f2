"""A run that was stopped, or killed, and resumed equals one that never was."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest
import pytorch_lightning as pl
from runs import CtrlC, assert_equal, saved, state, train

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
    train(out=str(tmp_path), resume=True, workers=0, **run)
    assert_equal(state(tmp_path), state(uninterrupted["simclr"]))
    assert read_metrics(tmp_path) == read_metrics(uninterrupted["simclr"])
