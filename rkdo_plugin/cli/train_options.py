"""Options of `rkdo train` that depend on the recipe, the loss and the field named."""

import argparse
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from rkdo_plugin.recipes.training.settings import Execution, RunSettings, names_of

# Settings of a recipe that the run, or the data, decides.
DECIDED = {
    "encoder",
    "weights",
    "branch",
    "pretrained",
    "loss",
    "loss_options",
    "in_channels",
    "image_size",
    "num_classes",
    "num_samples",
}
# Kinds of contributions that the help of `rkdo train` lists.
LISTED = {
    "recipe": "recipes",
    "loss": "losses",
    "encoder": "encoders",
    "bank": "banks, for --field.bank",
}


def add_named_options(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of the recipe, the loss and the field that the words name.

    The settings of a file, or of the run to be resumed, become the defaults. Help shows
    the options of what was named only: names are at hand at once, while their modules
    import Lightly and torchvision.

    Args:
        parser: Of the command `train`.
        words: The words after `rkdo`.
    """
    named = _named(words)
    saved = _saved_settings(named)
    if named.help:
        _add_names(parser)
    for part, name, signature in _parts(named, saved):
        group = parser.add_argument_group(f"{part}: --{part} {name}")
        group.add_function_arguments(
            signature, f"{part}_options", as_group=False, skip=set(DECIDED)
        )
        for option, value in (saved.pop(f"{part}_options", None) or {}).items():
            parser.set_defaults({f"{part}_options.{option}": value})
        if part != "field":
            parser.set_defaults({part: name})
    for part in ("recipe", "loss", "field"):  # those that help does not show
        saved.pop(f"{part}_options", None)
    parser.set_defaults(saved)


def _parts(
    named: argparse.Namespace, saved: dict[str, Any]
) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Each part that has options, its name, and what takes them.

    All three of a run. For help: those that were named, and a named recipe's own loss.
    """
    from rkdo_plugin.plugins.host import host

    own_loss = None
    if not named.help or named.recipe or "recipe" in saved:
        name = _choose("recipe", named.recipe, saved, RunSettings.recipe)
        recipe: Any = host().factory("recipe", name)
        _require_recipe(recipe, name)
        own_loss = recipe.default_loss
        yield "recipe", name, recipe.Settings
    if own_loss or named.loss or saved.get("loss"):
        name = _choose("loss", named.loss, saved, own_loss)
        yield "loss", name, host().factory("loss", name)
    if not named.help or named.field or saved.get("field"):
        from rkdo_plugin.recipes.field.create import FieldSettings

        yield "field", "START", FieldSettings


def _add_names(parser: ArgumentParser) -> None:
    """List, below the help, the names that plugins contribute."""
    from rkdo_plugin.plugins.host import host

    for kind, plural in LISTED.items():
        names = ", ".join(sorted(host().contributions(kind)))
        parser.add_argument_group(plural, names)
    parser.epilog = (
        "Recipes, losses and fields have options of their own: "
        "rkdo train --recipe dino --loss rkdo-dino --field hog --help shows them, too."
    )


def chosen_options(values: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The fields of a run's settings, as the run records them.

    Args:
        values: The parsed values of a dataclass's fields.
        words: The words after `rkdo`.

    Raises:
        ValueError: There are options of a field but no field.
    """
    if "field" in values and values["field"] is None:
        for word in words:
            if word.startswith("--field_options."):
                option = word.partition("=")[0].replace("_options.", ".")
                raise ValueError(f"Expected --field beside {option}")
        values["field_options"] = None
    if "recipe_options" in values:
        values["recipe_options"] = _changed(values["recipe"], values["recipe_options"])
    return values


def _named(words: Sequence[str]) -> argparse.Namespace:
    """The values of the options that decide which other options there are."""
    first = argparse.ArgumentParser(
        add_help=False, allow_abbrev=False, exit_on_error=False
    )
    for name in ("recipe", "loss", "field", "config", "out"):
        first.add_argument(f"--{name}")
    first.add_argument("--resume", action="store_true")
    first.add_argument("--help", "-h", action="store_true")
    try:
        return first.parse_known_args(words)[0]
    except argparse.ArgumentError:  # the command's own parser says what is wrong
        return first.parse_args([])


def _choose(part: str, named: str | None, saved: dict[str, Any], own: Any) -> str:
    """The name of a part; options that were saved for another one are dropped."""
    default = saved.get(part) or own
    if named is not None and named != default:
        saved.pop(f"{part}_options", None)
    name: str = named or default
    return name


def _require_recipe(recipe: Any, name: str) -> None:
    """Refuse a factory of something else than recipes."""
    if not hasattr(recipe, "Settings"):
        raise TypeError(
            f"Expected recipe '{name}' to be a subclass of rkdo_plugin.Recipe but got "
            f"{recipe!r}"
        )


def _saved_settings(named: argparse.Namespace) -> dict[str, Any]:
    """Settings of a file, or of the run to resume, that need not be typed again."""
    resumed = named.resume and named.out
    if not resumed and named.config is None:
        return {}
    from rkdo_plugin.recipes.evaluation.run_folder import CONFIG, read_config

    if resumed:
        return read_config(Path(named.out) / CONFIG)
    settings = read_config(Path(named.config))
    unknown = sorted(settings.keys() - names_of(RunSettings) - names_of(Execution))
    if unknown:
        raise ValueError(
            f"Expected {named.config} to hold options of train, as a run's {CONFIG} "
            f"does, but got {', '.join(unknown)}"
        )
    return settings


def _changed(recipe: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """The options that differ from the recipe's own: a run records what was chosen."""
    from rkdo_plugin.plugins.host import host

    factory: Any = host().factory("recipe", recipe)
    own = inspect.signature(factory.Settings).parameters
    changed = {
        name: value for name, value in options.items() if value != own[name].default
    }
    return changed or None
