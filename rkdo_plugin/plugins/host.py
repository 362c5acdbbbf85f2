"""The plugin host: loads plugins and collects what they contribute by name."""

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import Any

import pluggy

from rkdo_plugin.plugins import hookspecs
from rkdo_plugin.plugins.hookspecs import KINDS, Factories
from rkdo_plugin.plugins.names import did_you_mean

BUILTIN, OWN_DISTRIBUTION = "builtin", "rkdo-plugin"
DISABLE_VARIABLE = "RKDO_DISABLE_PLUGINS"


class PluginWarning(UserWarning):
    """A plugin, or a hook of it, was skipped; everything else works on."""


@dataclass
class Plugin:
    """One plugin as `rkdo plugins` lists it.

    Attributes:
        name: The entry point's name; "builtin" for this package's own plugin.
        distribution: Name of the distribution that advertises it.
        version: Version of that distribution.
        contributes: The names that it contributes, sorted, for each kind.
        skipped: Why the plugin or one of its hooks was left out; empty if none was.
    """

    name: str
    distribution: str
    version: str
    contributes: dict[str, list[str]] = field(default_factory=dict)
    skipped: str = ""

    def skip(self, reason: str) -> None:
        """Note why the plugin or one of its hooks is left out, and warn."""
        self.skipped = f"{self.skipped}; {reason}" if self.skipped else reason
        origin = f"plugin '{self.name}' of {self.distribution} {self.version}"
        warnings.warn(f"{origin} is skipped: {reason}", PluginWarning, stacklevel=3)


class PluginHost:
    """Everything that the installed plugins contribute, this package's included.

    Args:
        disabled: Names of plugins that are not loaded.
    """

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self._collected: dict[str, dict[str, Factories]] = {}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._loaded: dict[str, Plugin] = {}
        owners: dict[str, set[str]] = {BUILTIN: {OWN_DISTRIBUTION}}
        found: list[tuple[EntryPoint, Plugin]] = []
        # entry_points() sees a distribution once, even if it is on the path twice.
        for entry_point in entry_points(group=hookspecs.PROJECT):
            distribution = entry_point.dist
            assert distribution is not None  # set by entry_points()
            name, version = distribution.metadata["Name"], distribution.version
            found.append((entry_point, Plugin(entry_point.name, name, version)))
            owners.setdefault(entry_point.name, set()).add(name)
        found.sort(key=lambda pair: (pair[1].name, pair[1].distribution))
        self._plugins = [plugin for _, plugin in found]
        for entry_point, plugin in found:
            own = plugin.name == BUILTIN and plugin.distribution == OWN_DISTRIBUTION
            if plugin.name in disabled:
                plugin.skipped = f"switched off by {DISABLE_VARIABLE}"
            elif len(owners[plugin.name]) > 1 and not own:
                # Loading the first would let the order of the path decide.
                claims = " and ".join(sorted(owners[plugin.name]))
                plugin.skip(f"{claims} both name a plugin '{plugin.name}'")
            else:
                self._load(entry_point, plugin)

    @property
    def plugins(self) -> list[Plugin]:
        """Every plugin, with all it contributes and all that was skipped."""
        for kind in KINDS:
            self.contributions(kind)
        return list(self._plugins)

    def contributions(self, kind: str) -> dict[str, Factories]:
        """Every name of a kind, with what each plugin contributes under it.

        The hooks of a kind are called when the kind is first asked for.

        Args:
            kind: "loss", "bank", "recipe", "encoder", "exporter" or "signer".

        Returns:
            For each name a mapping from plugin to factory. A mapping of more than one
            plugin is a name clash.
        """
        if kind not in self._collected:
            found: dict[str, dict[str, Callable[..., Any] | str]] = {}
            hook = getattr(self._manager.hook, KINDS[kind])
            for implementation in hook.get_hookimpls():
                plugin = self._loaded[implementation.plugin_name]
                factories = self._call(implementation, plugin)
                plugin.contributes[kind] = sorted(factories)
                for name, factory in factories.items():
                    found.setdefault(name, {})[plugin.name] = factory
            self._collected[kind] = dict(found)
        return self._collected[kind]

    def factory(self, kind: str, name: str) -> Callable[..., Any]:
        """The factory that is registered under a name.

        Args:
            kind: "loss", "bank", "recipe", "encoder", "exporter" or "signer".
            name: The contributed name; hyphens and underscores are the same.

        Raises:
            ImportError: The module that the plugin names for it does not import.
            TypeError: The name is no text.
            ValueError: The name is unknown, or two plugins contribute it.
        """
        if not isinstance(name, str):
            raise TypeError(
                f"Expected `name` to be text, the {kind}'s name, but got "
                f"{type(name).__name__}"
            )
        contributions = self.contributions(kind)
        spelled = {known.replace("_", "-"): known for known in contributions}
        if name not in contributions:
            name = spelled.get(name.replace("_", "-"), name)
        if name not in contributions:
            known = ", ".join(sorted(contributions)) or "none"
            raise ValueError(
                f"Expected a registered {kind} but there is no {kind} named '{name}'; "
                f"known: {known}{did_you_mean(name, contributions)}"
            )
        factories = contributions[name]
        if len(factories) > 1:
            plugins = " and ".join(f"'{plugin}'" for plugin in sorted(factories))
            raise ValueError(f"{kind}: '{name}' comes from both {plugins}")
        ((plugin, factory),) = factories.items()
        if not isinstance(factory, str):
            return factory
        try:
            resolved: Callable[..., Any] = resolve_name(factory)
        except (ImportError, AttributeError) as error:
            raise ImportError(
                f"Expected {kind} '{name}' of plugin '{plugin}' at {factory} but got "
                f"{type(error).__name__}: {error}"
            ) from error
        return resolved

    def _load(self, entry_point: EntryPoint, plugin: Plugin) -> None:
        """Register one plugin, or note why it is skipped."""
        try:
            module = entry_point.load()
            self._manager.register(module, name=plugin.name)
            self._manager.check_pending()
            if not self._manager.get_hookcallers(module):
                hooks = ", ".join(KINDS.values())
                raise ValueError(f"nothing in it is marked as a hook, one of {hooks}")
        except (Exception, SystemExit) as error:  # other people's code may do anything
            if self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)
            plugin.skip(f"{type(error).__name__}: {error}")
        else:
            self._loaded[plugin.name] = plugin

    def _call(self, implementation: pluggy.HookImpl, plugin: Plugin) -> Factories:
        """What one hook returns; empty, with a warning, where it is unusable."""
        try:
            return _checked(implementation.function())
        except (Exception, SystemExit) as error:  # other people's code may do anything
            hook = implementation.function.__name__
            plugin.skip(f"{hook}: {type(error).__name__}: {error}")
            return {}


@lru_cache(maxsize=1)
def host() -> PluginHost:
    """The host of this process, made on first use."""
    disabled = os.environ.get(DISABLE_VARIABLE, "")
    return PluginHost(frozenset(filter(None, map(str.strip, disabled.split(",")))))


def _checked(factories: object) -> Factories:
    if not isinstance(factories, Mapping):
        raise TypeError(
            "Expected a mapping from name to factory but got "
            f"{type(factories).__name__} {factories!r}"
        )
    for name, factory in factories.items():
        if not isinstance(name, str):
            raise TypeError(f"Expected a name to be a string but got {name!r}")
        if not callable(factory) and not _names_an_attribute(factory):
            raise TypeError(
                f"Expected '{name}' to be callable, or a string 'module:attribute', "
                f"but got {factory!r}"
            )
    return factories


def _names_an_attribute(factory: object) -> bool:
    return isinstance(factory, str) and factory.count(":") == 1
