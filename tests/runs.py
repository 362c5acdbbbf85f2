"""Training runs from keyword arguments, as tests vary them one by one."""

from dataclasses import fields

from rkdo_plugin.recipes.training import train as training
from rkdo_plugin.recipes.training.settings import Execution, RunSettings


def train(recipe="simclr", loss=None, data="digits", *, out, **options):
    """`rkdo_plugin.recipes.training.train.train` without a progress bar."""
    names = {field.name for field in fields(Execution)}
    execution = {name: options.pop(name) for name in names & options.keys()}
    once = {k: options.pop(k) for k in ("resume", "callbacks") if k in options}
    settings = RunSettings(recipe=recipe, loss=loss, data=data, **options)
    execution = Execution(**{"progress": False, **execution})
    return training.train(settings, out, execution, **once)
