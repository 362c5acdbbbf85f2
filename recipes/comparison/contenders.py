"""Contenders: a loss, its options, and perhaps a response field, in one word.

ntxent
icon:temperature=0.2,debias=0.1
icon:field=hog,field.neighbors=16
icon:field=runs/simclr
rkdo:recipe.learning-rate=0.001
"""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from rkdo_plugin.plugins.host import host
from rkdo_plugin.plugins.names import did_you_mean
from rkdo_plugin.recipes.field.create import FieldSettings

COMMA = re.compile(r",(?![^\[]*\])")  # none within [1, 2]
# What the comparison decides, or the data: no contender may set it.
DECIDED = (
    "in_channels",
    "image_size",
    "num_classes",
    "num_samples",
    "encoder",
    "weights",
    "branch",
    "pretrained",
    "loss",
    "loss_options",
)

Options = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """What is compared with others.

    Attributes:
        name: As it was written.
        loss: A registered loss.
        loss_options: Its arguments that are set; the comparison does not tune them.
        field: Start of a response field; None for no field.
        field_options: Options of the field.
        recipe_options: Settings of the recipe that are set, likewise.
    """

    name: str
    loss: str
    loss_options: Options
    field: str | None
    field_options: Options
    recipe_options: Options


def contenders_of(texts: Sequence[str], recipe: str) -> list[Contender]:
    """The contenders as they were written; the first is what others compare with.

    Args:
        texts: Each as LOSS[:KEY=VALUE,...]. A key is an option of the loss; `field`, a
            start of a response field; `field.KEY`, an option of the field;
            `recipe.KEY`, a setting of the recipe.
        recipe: A registered recipe.

    Raises:
        ValueError: There are fewer than two, two are the same, a name or a key is
            unknown, or a value is of another kind.

    Example:
        >>> contender = contenders_of(["ntxent", "icon:temperature=.2"], "simclr")[1]
        >>> contender.loss, contender.loss_options
        ('icon', {'temperature': 0.2})
    """
    factory: Any = host().factory("recipe", recipe)
    contenders = [_contender(text, factory) for text in texts]
    if len(contenders) < 2:
        raise ValueError(
            f"Expected `loss` twice or more, to compare, but got {len(contenders)}"
        )
    for number, contender in enumerate(contenders):
        for other in contenders[:number]:
            if asdict(contender) | {"name": ""} == asdict(other) | {"name": ""}:
                raise ValueError(
                    f"Expected each `loss` once but {contender.name} is the same as "
                    f"{other.name}"
                )
    return contenders


def parameter_of(factory: Callable[..., Any], name: str) -> Any:
    """The default of a factory's argument; None where it has no such argument."""
    parameter = inspect.signature(factory).parameters.get(name)
    return None if parameter is None else parameter.default


def _contender(text: str, recipe: Any) -> Contender:
    loss, _, rest = text.partition(":")
    options: dict[str, dict[str, str]] = {"loss": {}, "field": {}, "recipe": {}}
    start: str | None = None
    for entry in COMMA.split(rest) if rest else []:
        key, equals, value = entry.partition("=")
        if not equals or not key or not value:
            raise ValueError(
                "Expected `loss` to be LOSS[:KEY=VALUE,...], as icon:temperature=0.2, "
                f"but got {text}"
            )
        part, dot, option = key.replace("-", "_").rpartition(".")
        part = part if dot else "loss"
        if key == "field":
            start = value
        elif part in options:
            if option in options[part]:
                raise ValueError(f"Expected {key} once but got it twice in {text}")
            options[part][option] = value
        else:
            raise ValueError(
                "Expected a key to be an option of the loss, field, field.KEY or "
                f"recipe.KEY but got {key} in {text}"
            )
    if options["field"] and start is None:
        raise ValueError(f"Expected field=START beside field.KEY but got {text}")
    if start is not None and Path(start).suffix == ".npy":
        raise ValueError(
            "Expected a field's features by a name, a model or paths, as the tuning "
            f"holds images out, but got {start}, which has a row for each image"
        )
    return Contender(
        text,
        loss,
        _typed(text, f"loss {loss}", host().factory("loss", loss), options["loss"]),
        start,
        _typed(text, "the field", FieldSettings, options["field"]),
        _typed(text, "the recipe", recipe.Settings, options["recipe"], DECIDED),
    )


def _typed(
    text: str,
    what: str,
    factory: Callable[..., Any],
    options: dict[str, str],
    decided: Sequence[str] = (),
) -> Options:
    """The values of options as `rkdo train` would read them."""
    parameters = inspect.signature(factory).parameters.keys() - {*decided}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(factory, as_group=False, skip={*decided})
    values: Options = {}
    for name, value in options.items():
        if name not in parameters:
            raise ValueError(
                f"Expected an option of {what} but got {name}"
                f"{did_you_mean(name, parameters)} in {text}; "
                f"known: {', '.join(sorted(parameters))}"
            )
        try:
            values[name] = parser.parse_args([f"--{name}={value}"])[name]
        except ArgumentError as error:
            kind = inspect.signature(factory).parameters[name].annotation
            raise ValueError(
                f"Expected {name} of {what} to be {getattr(kind, '__name__', kind)} "
                f"but got {value} in {text}"
            ) from error
    return values
