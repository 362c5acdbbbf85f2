"""The plugin host: loads plugins and collects what they contribute by name."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import pluggy

from rkdo_plugin.plugins import builtin, hookspecs
from rkdo_plugin.plugins.hookspecs import KINDS, Factories

BUILTIN = "builtin"
DISABLE_VARIABLE = "RKDO_DISABLE_PLUGINS"


class PluginWarning(UserWarning):
    """A plugin, or a hook of it, was skipped; everything else works on."""


@dataclass
class Plugin:
    """One plugin as `rkdo plugins` lists it.

    Attributes:
        name: The entry point's name, or "builtin".
        distribution: Name of the distribution that advertises it.
        version: Version of that distribution.
        contributes: kind -> the names it contributes, sorted.
        skipped: Why the plugin or a hook of it was left out; empty when nothing was.
    """

    name: str
    distribution: str
    version: str
    contributes: dict[str, list[str]] = field(default_factory=dict)
    skipped: str = ""

    def skip(self, reason: str) -> None:
        """Note why the plugin or a hook of it is left out, and warn."""
        self.skipped = f"{self.skipped}; {reason}" if self.skipped else reason
        origin = f"plugin '{self.name}' of {self.distribution} {self.version}"
        warnings.warn(f"{origin} is skipped: {reason}", PluginWarning, stacklevel=3)


class PluginHost:
    """Everything that the built-in and the installed plugins contribute.

    Args:
        disabled: Names of entry points that are not loaded.
    """

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self._collected: dict[str, dict[str, dict[str, Callable[..., Any]]]] = {}
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._manager.register(builtin, name=BUILTIN)
        own = Plugin(BUILTIN, "rkdo-plugin", version("rkdo-plugin"))
        self._plugins = [own]
        self._loaded = {BUILTIN: own}
        owners: dict[str, list[str]] = {BUILTIN: [own.distribution]}
        found: list[tuple[EntryPoint, Plugin]] = []
        # entry_points() sees a distribution once, even if it is on the path twice.
        for entry_point in entry_points(group=hookspecs.PROJECT):
            distribution = entry_point.dist
            assert distribution is not None  # set by entry_points()
            name, at = distribution.metadata["Name"], distribution.version
            found.append((entry_point, Plugin(entry_point.name, name, at)))
            owners.setdefault(entry_point.name, []).append(name)
        for entry_point, plugin in sorted(
            found, key=lambda pair: (pair[1].name, pair[1].distribution)
        ):
            self._plugins.append(plugin)
            if plugin.name in disabled:
                plugin.skipped = f"switched off by {DISABLE_VARIABLE}"
            elif len(owners[plugin.name]) > 1:
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

    def contributions(self, kind: str) -> dict[str, dict[str, Callable[..., Any]]]:
        """Every name of a kind with the factory of each plugin that contributes it.

        The hooks of a kind are called when the kind is first asked for.

        Args:
            kind: "loss", "bank", "recipe", "encoder" or "exporter".

        Returns:
            name -> {plugin: factory}; more than one plugin is a name clash.
        """
        if kind not in self._collected:
            found: dict[str, dict[str, Callable[..., Any]]] = {}
            hook = getattr(self._manager.hook, KINDS[kind])
            for implementation in hook.get_hookimpls():
                plugin = self._loaded[implementation.plugin_name]
                factories = self._call(implementation, plugin)
                plugin.contributes[kind] = sorted(factories)
                for name, factory in factories.items():
                    found.setdefault(name, {})[plugin.name] = factory
            self._collected[kind] = found
        return self._collected[kind]

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

    def _load(self, entry_point: EntryPoint, plugin: Plugin) -> None:
        """Register one plugin, or note why it is skipped."""
        try:
            module = entry_point.load()
            self._manager.register(module, name=plugin.name)
            self._manager.check_pending()
            if not self._manager.get_hookcallers(module):
                hooks = ", ".join(KINDS.values())
                raise ValueError(f"nothing in it is marked as a hook, one of {hooks}")
        except (
            Exception,
            SystemExit,
        ) as error:  # third-party code may fail as it likes
            if self._manager.has_plugin(plugin.name):
                self._manager.unregister(name=plugin.name)
            plugin.skip(f"{type(error).__name__}: {error}")
        else:
            self._loaded[plugin.name] = plugin

    def _call(self, implementation: pluggy.HookImpl, plugin: Plugin) -> Factories:
        """What one hook returns; empty, with a warning, where it is unusable."""
        try:
            return _checked(implementation.function())
        except (Exception, SystemExit) as error:
            if plugin.name == BUILTIN:
                raise
            hook = implementation.function.__name__
            plugin.skip(f"{hook}: {type(error).__name__}: {error}")
            return {}


def _checked(factories: object) -> Factories:
    if not isinstance(factories, Mapping):
        raise TypeError(
            "expected a mapping from name to factory, got "
            f"{type(factories).__name__} {factories!r}"
        )
    for name, factory in factories.items():
        if not isinstance(name, str):
            raise TypeError(f"expected a name to be a string, got {name!r}")
        if not callable(factory):
            raise TypeError(f"expected '{name}' to be callable, got {factory!r}")
    return factories
