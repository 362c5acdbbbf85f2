"""The hooks that a plugin may implement.

Each hook takes no argument and returns a mapping from name to factory. A factory is a
callable, or a string "module:attribute" that names one and is imported on first use.
Mark an implementation with `rkdo_plugin.hookimpl`, and name its module in your
`pyproject.toml` under the entry-point group `rkdo_plugin`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pluggy

PROJECT = "rkdo_plugin"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Factories = Mapping[str, Callable[..., Any] | str]

# Each kind of contribution, and the hook that it comes from.
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
    """Losses: `factory(**options) -> nn.Module`, called as `criterion(z0, z1)`.

    The options need types and defaults: they become options of the command line, as
    `--loss.temperature 0.2`. A loss with a true attribute `reads_labels` is called as
    `criterion(z0, z1, targets=labels)`. A loss whose `forward` has an argument
    `sample_ids` gets the samples' indices from `FieldCallback`. A loss with an option
    `gather_distributed` gets True for it in a run of several processes.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_banks() -> Factories:
    """Memory banks: `factory(num_samples, dim, **options) -> ResponseField`.

    `rkdo train --field START --field.bank NAME` uses one. The options are those of
    `rkdo_plugin.ResponseField`, of which a bank is a subclass.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_recipes() -> Factories:
    """Recipes: subclasses of `rkdo_plugin.Recipe`.

    That class says what a recipe offers. `rkdo train` calls `factory(settings)`, where
    `settings` is an instance of the recipe's dataclass `Settings`.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_encoders() -> Factories:
    """Encoders: `factory(in_channels=3) -> nn.Module`.

    The module maps images (B, C, H, W) to features (B, D) or feature maps
    (B, D, H', W'). A name of the form "NAME:ARGUMENT" calls
    `factory(ARGUMENT, in_channels=3)`. A factory with an argument `pretrained=False`
    gets True for it from `rkdo train --pretrained`. The module may then have a mapping
    `pretrained_cfg` with the "mean" and "std" that its weights know, as timm's have.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_exporters() -> Factories:
    """Exporters: `factory(encoder, path, *, overwrite, images) -> Report`.

    The encoder is a `rkdo_plugin.export.Encoder`, the images are uint8 (N, H, W, C) or
    None. `rkdo export` prints what the function returns. Options of the command that
    differ from their defaults are passed by name.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def rkdo_signers() -> Factories:
    """Signers of exported files: `factory() -> rkdo_plugin.export.Signer`."""
    raise AssertionError("a hook specification is never called")
