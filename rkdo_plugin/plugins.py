"""The plugin host: loads plugins, collects what they contribute, creates by name."""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import pluggy

from rkdo_plugin import builtin, hookspecs
from rkdo_plugin.hookspecs import KINDS, Factories

DISABLE_VARIABLE = "RKDO_DISABLE_PLUGINS"


class PluginWarning(UserWarning):
    """A plugin was skipped; everything else works on."""


@dataclass
class Plugin:
    """One plugin as `rkdo plugins` lists it.

    Attributes:
        name: The entry point's name, or "builtin".
        distribution: Name and version of the distribution that advertises it.
        factories: Kind -> what it contributes, by name.
        skipped: Why the plugin is left out; empty when it is not.
    """

    name: str
    distribution: str
    factories: dict[str, Factories] = field(default_factory=dict)
    skipped: str = ""


class PluginHost:
    """Everything that the built-in and the installed plugins contribute.

    Args:
        disabled: Names of entry points that are not loaded.
    """

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(builtin, name="builtin")
        own = Plugin("builtin", f"rkdo-plugin {version('rkdo-plugin')}")
        own.factories = self._collect("builtin")
        self.plugins = [own]
        for entry_point in sorted(entry_points(group=hookspecs.PROJECT)):
            found = entry_point.dist
            plugin = Plugin(
                entry_point.name,
                f"{found.name} {found.version}" if found else "no distribution",
            )
            self.plugins.append(plugin)
            if plugin.name in disabled:
                plugin.skipped = f"switched off by {DISABLE_VARIABLE}"
            else:
                self._load(plugin, entry_point)

    def _load(self, plugin: Plugin, entry_point: EntryPoint) -> None:
        module = None
        try:
            module = entry_point.load()
            self._manager.register(module, name=plugin.name)
            self._manager.check_pending()
            plugin.factories = self._collect(plugin.name)
        except Exception as error:  # third-party code may fail in any way it likes
            if self._manager.get_plugin(plugin.name) is module is not None:
                self._manager.unregister(module)
            plugin.skipped = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"plugin '{plugin.name}' of {plugin.distribution} is skipped: "
                f"{plugin.skipped}",
                PluginWarning,
                stacklevel=3,
            )

    def _collect(self, plugin: str) -> dict[str, Factories]:
        """Kind -> factories by name, as one registered plugin's hooks return them."""
        collected = {}
        for kind, hook in KINDS.items():
            for implementation in getattr(self._manager.hook, hook).get_hookimpls():
                if implementation.plugin_name == plugin:
                    collected[kind] = implementation.function()
                    if not isinstance(collected[kind], Mapping):
                        raise TypeError(
                            f"Expected {hook} to return a mapping from name to factory "
                            f"but got {type(collected[kind]).__name__}"
                        )
        return collected

    def names(self, kind: str) -> dict[str, list[Plugin]]:
        """Every name of a kind, sorted, with the plugins that contribute it.

        Args:
            kind: "loss", "bank", "recipe", "encoder" or "exporter".
        """
        found: dict[str, list[Plugin]] = {}
        for plugin in self.plugins:
            for name in plugin.factories.get(kind, {}):
                found.setdefault(name, []).append(plugin)
        return dict(sorted(found.items()))

    def factory(self, kind: str, name: str) -> Callable[..., Any]:
        """The factory registered under a name.

        Args:
            kind: "loss", "bank", "recipe", "encoder" or "exporter".
            name: The contributed name.

        Raises:
            ValueError: The name is unknown, or several plugins contribute it.
        """
        names = self.names(kind)
        if name not in names:
            known = ", ".join(names) or "none"
            raise ValueError(f"no {kind} named '{name}'; known: {known}")
        if len(names[name]) > 1:
            plugins = " and ".join(f"'{plugin.name}'" for plugin in names[name])
            raise ValueError(
                f"{kind}: '{name}' comes from both {plugins}; "
                f"{DISABLE_VARIABLE} switches a plugin off"
            )
        return names[name][0].factories[kind][name]


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
        >>> create_recipe("simclr", loss="rkdo").criterion.coupling
        0.5
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
        >>> encoder = create_encoder("small-convnet", in_channels=1)
        >>> encoder(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 96])
    """
    name, *argument = name.split(":", maxsplit=1)
    return host().factory("encoder", name)(*argument, **options)
