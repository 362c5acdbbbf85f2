"""Training runs: start one from keyword arguments, stop it, compare what two left."""

import os
import signal
from dataclasses import fields

import pytorch_lightning as pl
import torch

from rkdo_plugin.recipes.training import train as training
from rkdo_plugin.recipes.training.settings import Execution, RunSettings


def train(recipe="simclr", loss=None, data="digits", *, out, **options):
    """`rkdo_plugin.recipes.training.train.train` without a progress bar."""
    names = {field.name for field in fields(Execution)}
    execution = {name: options.pop(name) for name in names & options.keys()}
    once = {
        k: options.pop(k) for k in ("resume", "callbacks", "images") if k in options
    }
    settings = RunSettings(recipe=recipe, loss=loss, data=data, **options)
    execution = Execution(**{"progress": False, **execution})
    return training.train(settings, out, execution, **once)


class CtrlC(pl.Callback):
    """Sends this process the signal of Ctrl-C during the step of a given number."""

    def __init__(self, step):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def saved(folder):
    """The checkpoint of a run."""
    return torch.load(folder / "last.ckpt", weights_only=True)


def weights(folder):
    return saved(folder)["state_dict"]


def state(folder):
    """All of a checkpoint that a further step depends on."""
    names = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")
    checkpoint = saved(folder)
    return {name: checkpoint[name] for name in names}


def assert_equal(one, other, path=""):
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_equal(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{path}.{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path
