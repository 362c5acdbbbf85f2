"""From typed functions to a command line, by jsonargparse.

An argument that is a dataclass becomes one option for each of its fields. A bool that
is off by default becomes a flag. A list without a default takes one word or more; a
sequence is an option that may be given several times.
Options are shown with hyphens; underscores are accepted, too.
"""

import inspect
from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import docstring_parser
from jsonargparse import ArgumentParser

from rkdo_plugin.cli.train_options import add_named_options, chosen_options
from rkdo_plugin.cli.words import (
    NAMED,
    Command,
    Commands,
    Parser,
    nested,
    require_known,
    shown,
    spelled,
    with_lists,
)
from rkdo_plugin.plugins.names import did_you_mean
from rkdo_plugin.recipes.training.settings import RunSettings


def parse(words: Sequence[str], commands: Commands) -> tuple[Command, dict[str, Any]]:
    """The command that the words name, and its arguments.

    Args:
        words: The words after `rkdo`.
        commands: Each command, or group of commands, by name.

    Raises:
        SystemExit: The words make no command, or ask for help.
    """
    words = spelled(words)
    parser = Parser(
        prog="rkdo",
        description="I-Con and RKDO losses for Lightly, and verified ONNX export.",
    )
    if words and words[0] not in commands and not words[0].startswith("-"):
        meant = did_you_mean(words[0], commands)
        known = ", ".join(commands)
        parser.error(f"Expected a command but got {words[0]}{meant}; known: {known}")
    subcommands = parser.add_subcommands(dest="command")
    for name, command in commands.items():
        if callable(command):
            subparser = _of_command(command, words if words[:1] == [name] else None)
            subcommands.add_subcommand(name, subparser, help=_summary(command))
            if words[:1] == [name]:
                words = _checked(words, 1, subparser)
            continue
        summary = f"One of: {', '.join(command)}."
        group = Parser(description=summary)
        subcommands.add_subcommand(name, group, help=summary)  # before its members
        members = group.add_subcommands(dest="command")
        for member, function in command.items():
            subparser = _of_command(function, None)
            members.add_subcommand(member, subparser, help=_summary(function))
            if words[:2] == [name, member]:
                words = _checked(words, 2, subparser)
    parsed: dict[str, Any] = parser.parse_args(words).as_dict()
    found: Any = commands
    while "command" in parsed:
        name = parsed["command"]
        found, parsed = found[name], parsed[name]
    return found, _arguments(found, parsed, words)


def _checked(words: Sequence[str], first: int, parser: Parser) -> list[str]:
    """The words of a command, whose options start at the given one."""
    require_known(words[first:], parser)
    return [*words[:first], *with_lists(words[first:], parser)]


def _of_command(command: Command, words: Sequence[str] | None) -> Parser:
    """The parser of a command; its named parts' options only where the words ask."""
    parser = Parser(description=_summary(command))
    parameters = inspect.signature(command).parameters
    flags = {name for name, p in parameters.items() if p.annotation is bool}
    parts = {name: p.annotation for name, p in parameters.items() if nested(p)}
    lists = [
        name
        for name, p in parameters.items()
        if p.annotation == list[str] and p.default is p.empty
    ]
    repeated = [n for n, p in parameters.items() if p.annotation == Sequence[str]]
    parser.add_function_arguments(
        command,
        as_group=False,
        as_positional=True,
        skip={*flags, *parts, *lists, *repeated},
    )
    for name in repeated:
        parser.add_argument(
            f"--{name}", action="append", default=[], help=_meaning(command, name)
        )
    for name in lists:
        parser.add_argument(name, nargs="+", help=_meaning(command, name))
    for kind in parts.values():
        off = {field.name for field in fields(kind) if field.default is False}
        always = {field.name for field in fields(kind) if field.default is True}
        options = {f"{name}_options" for name in NAMED}
        parser.add_class_arguments(kind, as_group=False, skip=off | always | options)
        for flag in off:
            _add_flag(parser, kind, flag)
    for flag in flags:
        _add_flag(parser, command, flag)
    if words is not None and RunSettings in parts.values():
        add_named_options(parser, words)
    for action in parser._actions:
        # jsonargparse adds `--x.help` to an object and `--x+` to a sequence.
        if action.dest.endswith(".help"):
            action.help = SUPPRESS
        spellings = [each for each in action.option_strings if not each.endswith("+")]
        action.option_strings = [shown(option) for option in spellings]
    return parser


def _arguments(
    command: Command, parsed: dict[str, Any], words: Sequence[str]
) -> dict[str, Any]:
    """The arguments of a command, its dataclasses made of their fields."""
    arguments = dict(parsed)
    for name, parameter in inspect.signature(command).parameters.items():
        if nested(parameter):
            kind = parameter.annotation
            names = [each.name for each in fields(kind) if each.name in arguments]
            values = {each: arguments.pop(each) for each in names}
            arguments[name] = kind(**chosen_options(values, words))
    return arguments


def _add_flag(parser: ArgumentParser, owner: Any, flag: str) -> None:
    parser.add_argument(f"--{flag}", action="store_true", help=_meaning(owner, flag))


def _meaning(owner: Any, argument: str) -> str | None:
    described = docstring_parser.parse(inspect.getdoc(owner) or "").params
    return next(each.description for each in described if each.arg_name == argument)


def _summary(command: Command) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]
