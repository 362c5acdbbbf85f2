"""The hooks a plugin may implement.

Every hook takes no argument and returns a mapping from name to factory. Mark an
implementation with `rkdo_plugin.hookimpl` and advertise the module under the
entry-point group `rkdo_plugin`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pluggy

PROJECT = "rkdo_plugin"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Factories = Mapping[str, Callable[..., Any]]

# What `create_*` and `rkdo plugins` call a contribution, and the hook it comes from.
KINDS = {
    "loss": "rkdo_losses",
    "bank": "rkdo_banks",
    "recipe": "rkdo_recipes",
    "encoder": "rkdo_encoders",
    "exporter": "rkdo_exporters",
    "signer": "rkdo_signers",
}


@hookspec
def rkdo_losses() -> Factories:
    """Criteria: `factory(**options) -> nn.Module` called as `criterion(z0, z1)`."""
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_banks() -> Factories:
    """Memory banks: `factory(num_samples, dim, **options) -> nn.Module`."""
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_recipes() -> Factories:
    """Recipes: `factory(encoder=..., loss=..., **options) -> LightningModule`."""
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_encoders() -> Factories:
    """Encoders: `factory(in_channels=3) -> nn.Module`, images (B, C, H, W) to (B, D).

    A name of the form "NAME:ARGUMENT" calls `factory(ARGUMENT, in_channels=3)`.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_exporters() -> Factories:
    """Exporters: `factory(encoder, path, *, overwrite, images) -> Report`.

    Options of the command that are not the default are passed on by name.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_signers() -> Factories:
    """Signers of exports: `factory() -> rkdo_plugin.export.Signer`."""
    raise AssertionError("a hook specification is never called")
