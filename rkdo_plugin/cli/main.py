"""The command line `rkdo`: parses, runs one command, turns errors into a status."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import docstring_parser
from jsonargparse import ArgumentParser, Namespace

from rkdo_plugin.cli import exporting, training

COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__.replace("_", "-"): command
    for command in (
        training.demo,
        training.train,
        training.evaluate,
        training.inspect_field,
        exporting.export,
        exporting.verify,
        exporting.embed,
        exporting.triton,
        training.benchmark,
        exporting.doctor,
        training.plugins,
    )
}
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Arguments of a recipe that the run itself decides.
RUN_OPTIONS = (
    "encoder",
    "loss",
    "loss_options",
    "in_channels",
    "image_size",
    "num_classes",
    "num_samples",
)
# What `--loss NAME` and the like name, beside which their options can be.
NAMED = {"recipe": "name", "loss": "name", "field": "start"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `rkdo`.

    Args:
        arguments: The words after `rkdo`; those of this process by default.

    Returns:
        The exit status: 0 only when what was asked for is there.
    """
    # Lightly before 1.6 asks the network for its newest version at import.
    os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parsed = _parser(words).parse_args(_nested_names(words))
        options = _options(parsed[parsed.command], words)
        COMMANDS[parsed.command](**options)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"rkdo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"rkdo: interrupted {interrupt}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser(words: Sequence[str]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="rkdo",
        description="I-Con and RKDO losses for Lightly, and verified ONNX export.",
    )
    subcommands = parser.add_subcommands(dest="command")
    for name, command in COMMANDS.items():
        summary = (inspect.getdoc(command) or "").partition("\n")[0]
        subparser = ArgumentParser(description=summary)
        flags = [
            option.name
            for option in inspect.signature(command).parameters.values()
            if option.annotation is bool
        ]
        skip: set[str | int] = {*flags}
        skip |= {word for name in NAMED for word in (name, f"{name}_options")}
        subparser.add_function_arguments(
            command, as_group=False, as_positional=True, skip=skip
        )
        for flag in flags:
            subparser.add_argument(
                f"--{flag}", action="store_true", help=_meaning(command, flag)
            )
        if name == "train" and words[:1] == ["train"]:
            saved = _saved_settings(words)
            recipe = _add_recipe(subparser, words, saved)
            _add_loss(subparser, words, saved, recipe)
            _add_field(subparser, saved)
            subparser.set_defaults(saved)
        subcommands.add_subcommand(name, subparser, help=summary)
    return parser


def _meaning(command: Callable[..., Any], option: str) -> str | None:
    """What a command's docstring says of an option."""
    described = docstring_parser.parse(inspect.getdoc(command) or "").params
    return next(
        (each.description for each in described if each.arg_name == option), None
    )


def _add_recipe(
    parser: ArgumentParser, words: Sequence[str], saved: dict[str, Any]
) -> Callable[..., Any]:
    """Options of the recipe that the words name; what the run itself says is none."""
    from rkdo_plugin.plugins.create import host

    options = saved.pop("recipe_options", None) or {}
    default = saved.pop("recipe", "simclr")
    name = _value(words, "--recipe") or default
    if name != default:
        options = {}
    recipe = host().factory("recipe", name)
    skip: set[str | int] = {*RUN_OPTIONS}
    group = parser.add_argument_group(f"recipe: --recipe NAME, here {name}")
    group.add_argument(
        "--recipe.name", type=str, default=name, help="what --recipe says"
    )
    # A plugin's recipe may have options without types; they are then of any.
    group.add_function_arguments(
        recipe, "recipe", as_group=False, skip=skip, fail_untyped=False
    )
    parser.set_defaults({f"recipe.{option}": v for option, v in options.items()})
    return recipe


def _add_loss(
    parser: ArgumentParser,
    words: Sequence[str],
    saved: dict[str, Any],
    recipe: Callable[..., Any],
) -> None:
    """Options of the loss that the words name, or of the recipe's own loss."""
    from rkdo_plugin.plugins.create import host

    options = saved.pop("loss_options", None) or {}
    default = saved.pop("loss", None)
    if default is None:
        default = inspect.signature(recipe).parameters["loss"].default
    loss = _value(words, "--loss") or default
    if loss != default:
        options = {}
    group = parser.add_argument_group(f"loss: --loss NAME, here {loss}")
    group.add_argument("--loss.name", type=str, default=loss, help="what --loss says")
    # A field is an object of the run's; `--field` is what makes one here.
    group.add_function_arguments(
        host().factory("loss", loss), "loss", as_group=False, skip={"field"}
    )
    parser.set_defaults({f"loss.{option}": value for option, value in options.items()})


def _add_field(parser: ArgumentParser, saved: dict[str, Any]) -> None:
    """Options of a response field; what the run itself decides is none."""
    from rkdo_plugin.recipes.field.open import open_field

    options = saved.pop("field_options", None) or {}
    start = saved.pop("field", None)
    skip: set[str | int] = {"start", "data", "dim", "epochs", "initialize"}
    group = parser.add_argument_group("response field: --field START")
    group.add_argument(
        "--field.start", type=str | None, default=start, help="what --field says"
    )
    group.add_function_arguments(open_field, "field", as_group=False, skip=skip)
    parser.set_defaults({f"field.{option}": value for option, value in options.items()})


def _saved_settings(words: Sequence[str]) -> dict[str, Any]:
    """Settings of a file, or of the run to resume, that need not be typed again."""
    from rkdo_plugin.recipes.training.run_folder import CONFIG, read_config

    out, file = _value(words, "--out"), _value(words, "--config")
    if "--resume" in words and out:
        return read_config(Path(out) / CONFIG)
    if file is None:
        return {}
    settings = read_config(Path(file))
    known = inspect.signature(training.train).parameters.keys() - {"resume", "config"}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise ValueError(
            f"Expected {file} to hold options of train, as a run's {CONFIG} does, but "
            f"got {', '.join(unknown)}"
        )
    return settings


def _value(words: Sequence[str], option: str) -> str | None:
    """The value of an option, given as `--option value` or `--option=value`."""
    for word, following in zip(words, [*words[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else following
    return None


def _nested_names(words: Sequence[str]) -> list[str]:
    """`--loss rkdo` as `--loss.name rkdo`, beside which `--loss.temperature` can be.

    And `--batch-size` as `--batch_size`, but `inspect_field` as `inspect-field`: both
    spellings are common.
    """
    renamed = [word.replace("_", "-") for word in words[:1]]
    for word in words[1:]:
        option, equals, value = word.partition("=")
        if option.startswith("--"):
            name = option.removeprefix("--").replace("-", "_")
            option = f"--{name}.{NAMED[name]}" if name in NAMED else f"--{name}"
        renamed.append(option + equals + value)
    return renamed


def _options(parsed: Namespace, words: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = parsed.as_dict()
    for kind in NAMED.keys() & options.keys():
        options[f"{kind}_options"] = options.pop(kind)
        options[kind] = options[f"{kind}_options"].pop(NAMED[kind])
        if options[kind] is None:
            for word in words:
                if word.startswith(f"--{kind}."):
                    raise ValueError(f"Expected --{kind} beside {word}")
            options[f"{kind}_options"] = None
    if options.get("recipe_options") is not None:
        options["recipe_options"] = _chosen(
            options["recipe"], options["recipe_options"]
        )
    return options


def _chosen(recipe: str, options: dict[str, Any]) -> dict[str, Any] | None:
    """Options that are not the recipe's own: a run records what was chosen."""
    from rkdo_plugin.plugins.create import host

    own = inspect.signature(host().factory("recipe", recipe)).parameters
    chosen = {
        name: value
        for name, value in options.items()
        if name not in own or value != own[name].default
    }
    return chosen or None
