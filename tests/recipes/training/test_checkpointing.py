import csv
import os
import signal
import subprocess
import sys

import pytest
import pytorch_lightning as pl
import torch
from runs import train


def assert_same_run(folder, other):
    one, two = (
        torch.load(run / "last.ckpt", weights_only=True) for run in (folder, other)
    )
    assert one["global_step"] == two["global_step"] == 12
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, two["state_dict"][name]), name
    for states in zip(
        one["optimizer_states"][0]["state"].values(),
        two["optimizer_states"][0]["state"].values(),
        strict=True,
    ):
        for name in states[0]:
            assert torch.equal(states[0][name], states[1][name]), name
    assert one["lr_schedulers"] == two["lr_schedulers"]
    assert read_metrics(folder) == read_metrics(other)


def read_metrics(folder):
    with (folder / "metrics.csv").open() as file:
        return [(int(row["step"]), row["train_loss"]) for row in csv.DictReader(file)]


class CtrlC(pl.Callback):
    """Sends this process the signal of Ctrl-C during the step of a given number."""

    def __init__(self, step):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


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
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == step + 1
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


SCRIPT = """
import sys
from rkdo_plugin.recipes.training.settings import Execution, RunSettings
from rkdo_plugin.recipes.training.train import train
settings = RunSettings(epochs=2000, batch_size=64, limit=256)
train(settings, sys.argv[1], Execution(workers=2, progress=False))
"""


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
    assert process.returncode == -signal.SIGINT  # Python's way to end on Ctrl-C
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert f"stopped after step {saved['global_step']} of 8000" in errors


def test_the_seed_decides(uninterrupted, tmp_path, settings):
    train(out=str(tmp_path / "same"), workers=2, **settings)
    assert_same_run(uninterrupted["simclr"], tmp_path / "same")
    train(out=str(tmp_path / "other"), workers=0, seed=1, **settings)
    losses = read_metrics(tmp_path / "other"), read_metrics(tmp_path / "same")
    assert losses[0] != losses[1]
