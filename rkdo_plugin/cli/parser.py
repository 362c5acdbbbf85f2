"""From typed functions to a command line, by jsonargparse.

An argument that is a dataclass becomes one option for each of its fields. A bool that
is off by default becomes a flag. Options are shown with hyphens; underscores are
accepted, too.
"""

import inspect
from argparse import SUPPRESS
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import docstring_parser
from jsonargparse import ArgumentParser

from rkdo_plugin.cli.train_options import add_named_options, chosen_options
from rkdo_plugin.recipes.training.settings import RunSettings

Command = Callable[..., None]
Commands = Mapping[str, Command | Mapping[str, Command]]

# `--loss.temperature` sets an entry of `loss_options`.
NAMED = ("recipe", "loss", "field")


def parse(words: Sequence[str], commands: Commands) -> tuple[Command, dict[str, Any]]:
    """The command that the words name, and its arguments.

    Args:
        words: The words after `rkdo`.
        commands: Each command, or group of commands, by name.

    Raises:
        SystemExit: The words make no command, or ask for help.
    """
    words = _spelled(words, commands)
    parser = ArgumentParser(
        prog="rkdo",
        description="I-Con and RKDO losses for Lightly, and verified ONNX export.",
    )
    subcommands = parser.add_subcommands(dest="command")
    for name, command in commands.items():
        if callable(command):
            subparser = _of_command(command, words if words[:1] == [name] else None)
            subcommands.add_subcommand(name, subparser, help=_summary(command))
            continue
        summary = f"One of: {', '.join(command)}."
        group = ArgumentParser(description=summary)
        subcommands.add_subcommand(name, group, help=summary)  # before its members
        members = group.add_subcommands(dest="command")
        for member, function in command.items():
            members.add_subcommand(
                member, _of_command(function, None), help=_summary(function)
            )
    parsed: dict[str, Any] = parser.parse_args(words).as_dict()
    found: Any = commands
    while "command" in parsed:
        name = parsed["command"]
        found, parsed = found[name], parsed[name]
    return found, _arguments(found, parsed, words)


def _of_command(command: Command, words: Sequence[str] | None) -> ArgumentParser:
    """The parser of a command; its named parts' options only where the words ask."""
    parser = ArgumentParser(description=_summary(command))
    parameters = inspect.signature(command).parameters
    flags = {name for name, p in parameters.items() if p.annotation is bool}
    nested = {name: p.annotation for name, p in parameters.items() if _nested(p)}
    parser.add_function_arguments(
        command, as_group=False, as_positional=True, skip={*flags, *nested}
    )
    for kind in nested.values():
        off = {field.name for field in fields(kind) if field.default is False}
        always = {field.name for field in fields(kind) if field.default is True}
        options = {f"{name}_options" for name in NAMED}
        parser.add_class_arguments(kind, as_group=False, skip=off | always | options)
        for flag in off:
            _add_flag(parser, kind, flag)
    for flag in flags:
        _add_flag(parser, command, flag)
    if words is not None and RunSettings in nested.values():
        add_named_options(parser, words)
    for action in parser._actions:
        # jsonargparse adds `--x.help` to an object and `--x+` to a sequence.
        if action.dest.endswith(".help"):
            action.help = SUPPRESS
        spelled = [each for each in action.option_strings if not each.endswith("+")]
        action.option_strings = [_shown(option) for option in spelled]
    return parser


def _arguments(
    command: Command, parsed: dict[str, Any], words: Sequence[str]
) -> dict[str, Any]:
    """The arguments of a command, its dataclasses made of their fields."""
    arguments = dict(parsed)
    for name, parameter in inspect.signature(command).parameters.items():
        if _nested(parameter):
            kind = parameter.annotation
            names = [each.name for each in fields(kind) if each.name in arguments]
            values = {each: arguments.pop(each) for each in names}
            arguments[name] = kind(**chosen_options(values, words))
    return arguments


def _nested(parameter: inspect.Parameter) -> bool:
    return isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)


def _add_flag(parser: ArgumentParser, owner: Any, flag: str) -> None:
    described = docstring_parser.parse(inspect.getdoc(owner) or "").params
    meaning = next(each.description for each in described if each.arg_name == flag)
    parser.add_argument(f"--{flag}", action="store_true", help=meaning)


def _summary(command: Command) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]


def _spelled(words: Sequence[str], commands: Commands) -> list[str]:
    """Words as the parser knows them: `--batch-size 8` as `--batch_size 8`.

    And `--loss.temperature` as `--loss_options.temperature`, `inspect_field` as
    `inspect-field`.
    """
    spelled = [word.replace("_", "-") for word in words[:1]]
    for word in words[1:]:
        option, equals, value = word.partition("=")
        if option.startswith("--"):
            name, dot, entry = (
                option.removeprefix("--").replace("-", "_").partition(".")
            )
            if dot and name in NAMED:
                name += "_options"
            option = f"--{name}{dot}{entry}"
        spelled.append(option + equals + value)
    return spelled


def _shown(option: str) -> str:
    return option.replace("_options.", ".").replace("_", "-")
