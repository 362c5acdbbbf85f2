"""The plugin host: loads plugins, collects what they contribute, creates by name."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, distributions
from typing import Any

import pluggy

from rkdo_plugin import builtin, hookspecs

KINDS = {
    "loss": "rkdo_losses",
    "bank": "rkdo_banks",
    "recipe": "rkdo_recipes",
    "encoder": "rkdo_encoders",
    "exporter": "rkdo_exporters",
}
DISABLE_VARIABLE = "RKDO_DISABLE_PLUGINS"


class PluginWarning(UserWarning):
    """A plugin was skipped; everything else works on."""


@dataclass(frozen=True)
class Plugin:
    """One plugin as `rkdo plugins` lists it.

    Attributes:
        name: The entry point's name, or "builtin".
        distribution: "NAME VERSION" of the distribution that advertises it.
        skipped: Why the plugin was not loaded; empty when it was.
    """

    name: str
    distribution: str
    skipped: str = ""


class PluginHost:
    """Everything that the built-in and the installed plugins contribute.

    Args:
        disabled: Names of entry points that are not loaded.
    """

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self.plugins: list[Plugin] = []
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(builtin, name="builtin")
        self.plugins.append(Plugin("builtin", "rkdo-plugin"))
        advertised = [
            (entry_point, f"{found.metadata['Name']} {found.version}")
            for found in distributions()
            for entry_point in found.entry_points
            if entry_point.group == hookspecs.PROJECT
        ]
        seen = set()
        for entry_point, distribution in sorted(advertised, key=lambda pair: pair[1]):
            # An editable install and its build folder advertise the same plugin twice.
            if (entry_point, distribution) in seen:
                continue
            seen.add((entry_point, distribution))
            reason = (
                f"switched off by {DISABLE_VARIABLE}"
                if entry_point.name in disabled
                else self._load(entry_point, distribution)
            )
            self.plugins.append(Plugin(entry_point.name, distribution, reason))

    def _load(self, entry_point: EntryPoint, distribution: str) -> str:
        """Register one plugin; returns why it was skipped, or an empty string."""
        name = entry_point.name
        plugin = None
        try:
            plugin = entry_point.load()
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
        except Exception as error:  # third-party code may fail in any way it likes
            if plugin is not None and self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"plugin '{name}' of {distribution} is skipped: {reason}",
                PluginWarning,
                stacklevel=2,
            )
            return reason
        return ""

    def contributions(self, kind: str) -> dict[str, dict[str, Callable[..., Any]]]:
        """Every name of a kind with the factory of each plugin that contributes it.

        Args:
            kind: "loss", "bank", "recipe", "encoder" or "exporter".

        Returns:
            name -> {plugin: factory}; more than one plugin is a name clash.
        """
        found: dict[str, dict[str, Callable[..., Any]]] = {}
        hook = getattr(self._manager.hook, KINDS[kind])
        for implementation in hook.get_hookimpls():
            for name, factory in implementation.function().items():
                found.setdefault(name, {})[implementation.plugin_name] = factory
        return found

    def factory(self, kind: str, name: str) -> Callable[..., Any]:
        """The factory registered under a name.

        Args:
            kind: "loss", "bank", "recipe", "encoder" or "exporter".
            name: The contributed name.

        Raises:
            ValueError: The name is unknown, or two plugins contribute it.
        """
        contributions = self.contributions(kind)
        if name not in contributions:
            known = ", ".join(sorted(contributions)) or "none"
            raise ValueError(f"no {kind} named '{name}'; known: {known}")
        factories = contributions[name]
        if len(factories) > 1:
            plugins = " and ".join(f"'{plugin}'" for plugin in sorted(factories))
            raise ValueError(f"{kind}: '{name}' comes from both {plugins}")
        return next(iter(factories.values()))


@lru_cache(maxsize=1)
def host() -> PluginHost:
    """The host of this process, built on first use."""
    disabled = os.environ.get(DISABLE_VARIABLE, "")
    return PluginHost(frozenset(filter(None, map(str.strip, disabled.split(",")))))


def create_loss(name: str, **options: Any) -> Any:
    """Create a criterion by its registered name.

    Args:
        name: For example "icon", "rkdo" or "ntxent".
        options: Arguments of the criterion, for example `temperature=0.2`.

    Returns:
        The criterion, an `nn.Module` called as `criterion(z0, z1)`.

    Raises:
        ValueError: The name is unknown (the message lists the known ones), or two
            plugins contribute it.

    Example:
        >>> create_loss("rkdo", temperature=0.2).temperature
        0.2
    """
    return host().factory("loss", name)(**options)


def create_recipe(name: str, **options: Any) -> Any:
    """Create a recipe by its registered name.

    Args:
        name: For example "simclr" or "byol".
        options: Arguments of the recipe, for example `loss="rkdo"`.

    Returns:
        The recipe, a `LightningModule`.

    Raises:
        ValueError: The name is unknown, or two plugins contribute it.

    Example:
        >>> create_recipe("simclr", encoder="small-convnet", loss="rkdo").criterion
        RKDOLoss()
    """
    return host().factory("recipe", name)(**options)


def create_encoder(name: str, **options: Any) -> Any:
    """Create an encoder by its registered name.

    Args:
        name: For example "resnet18", "small-convnet" or "timm:vit_tiny_patch16_224":
            what follows a colon is handed to the factory first.
        options: Arguments of the encoder, for example `in_channels=1`.

    Returns:
        The encoder, an `nn.Module` from images (B, C, H, W) to features (B, D).

    Raises:
        ValueError: The name is unknown, or two plugins contribute it.

    Example:
        >>> create_encoder("small-convnet", in_channels=1)(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 96])
    """
    name, *argument = name.split(":", maxsplit=1)
    return host().factory("encoder", name)(*argument, **options)
