"""The words of a command line: as the parser reads them, and as a person typed them."""

import argparse
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import takewhile
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin

from jsonargparse import ArgumentParser

from rkdo_plugin.plugins.names import did_you_mean

Command = Callable[..., None]
Commands = Mapping[str, Command | Mapping[str, Command]]

# `--loss.temperature` sets an entry of `loss_options`.
NAMED = ("recipe", "loss", "field")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
# Types as jsonargparse writes them in its errors, and what a person types for them.
KINDS = {
    r"<class '(\w+)'>": r"\1",
    r"(typing\.)?Literal\[(.*?)\]": r"one of \2",
    r"(, |\b)None(Type)?\b": "",
    r"\b(list|tuple)\[float[^]]*\]": "numbers, as 0.5 0.25",
    r"\b(list|tuple)\[int[^]]*\]": "integers, as 8 32",
    r"\bint\b": "an integer",
    r"\bfloat\b": "a number",
    r"\bbool\b": "true or false",
    r"\bstr\b": "text",
}


class Parser(ArgumentParser):
    """A parser whose errors are one line, without all options before it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong and leave with status 2."""
        parser = getattr(ex, "subcommand_parser", None) or self
        command = parser.prog.replace(" [options]", "")
        self.exit(2, f"rkdo: {_plain(message)}; see {command} --help\n")


def spelled(words: Sequence[str]) -> list[str]:
    """Words as the parser knows them: `--batch-size 8` as `--batch_size 8`.

    And `--loss.temperature` as `--loss_options.temperature`, `inspect_field` as
    `inspect-field`.
    """
    known = [word.replace("_", "-") for word in words[:1]]
    for word in words[1:]:
        option, equals, value = word.partition("=")
        if option.startswith("--"):
            name, dot, entry = (
                option.removeprefix("--").replace("-", "_").partition(".")
            )
            if dot and name in NAMED:
                name += "_options"
            option = f"--{name}{dot}{entry}"
        known.append(option + equals + value)
    return known


def shown(option: str) -> str:
    """An option of the parser as a person types it."""
    return option.replace("_options.", ".").replace("_", "-")


def named(words: Sequence[str], commands: Commands) -> Command | None:
    """The command that the first words name; None where they name none."""
    found: Any = commands
    for word in words[:2]:
        if not callable(found):
            found = found.get(word.replace("_", "-"), {})
    return found if callable(found) else None


def as_typed(message: str, command: Command | None) -> str:
    """An error with the command's options as they are typed.

    Example:
        >>> from rkdo_plugin.cli.embed import embed
        >>> as_typed("Expected `batch_size` to be at least 1 but got 0", embed)
        'Expected --batch-size to be at least 1 but got 0'
    """
    options = set() if command is None else set(_options(command))
    return re.sub(
        r"`(\w+)`",
        lambda name: shown(f"--{name[1]}") if name[1] in options else name[0],
        message,
    )


def require_known(words: Sequence[str], parser: Parser) -> None:
    """Refuse options that a command does not have, and say which one was meant.

    Args:
        words: The words after the command, as `spelled` gives them.
        parser: The command's parser.

    Raises:
        SystemExit: There is such an option.
    """
    options = [o for a in parser._actions for o in a.option_strings if o[:2] == "--"]
    for number, word in enumerate(words):
        option, _, value = word.partition("=")
        if option == "--resume" in options:
            path = value or "".join(words[number + 1 : number + 2])
            if path and not path.startswith("-"):
                parser.error(f"--resume takes no path: use --out {path} --resume")
        if option == "--" or not option.startswith("--"):
            continue
        if option not in parser._option_string_actions:
            _refuse(shown(option), options, parser)


def with_lists(words: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Words with several numbers after an option as one: `--mean 0.5 0.4` as a list."""
    gathered: list[str] = []
    rest = list(words)
    while rest:
        gathered.append(rest.pop(0))
        action = parser._option_string_actions.get(gathered[-1])
        several, one = _takes(action)
        numbers = [*takewhile(NUMBER.fullmatch, rest)] if several else []
        if len(numbers) > one:
            gathered.append(f"[{','.join(numbers)}]")
            del rest[: len(numbers)]
    return gathered


def nested(parameter: inspect.Parameter) -> bool:
    """Whether an argument is a dataclass, whose fields are options."""
    return isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)


def _refuse(typed: str, options: Sequence[str], parser: Parser) -> NoReturn:
    """Say which option is like one that there is not, or which its part has."""
    part, dot, _ = typed.partition(".")
    of_part = [each for each in options if each.startswith(part + dot)] if dot else []
    prefix = part + dot if of_part else "--"
    names = [each.removeprefix(prefix) for each in of_part or options]
    meant = did_you_mean(typed.removeprefix(prefix), names, prefix)
    known = f"; known: {', '.join(of_part)}" if of_part else ""
    parser.error(f"Expected an option but got {typed}{meant}{known}")


def _options(command: Command) -> Iterator[str]:
    for name, parameter in inspect.signature(command).parameters.items():
        if nested(parameter):
            yield from (each.name for each in fields(parameter.annotation))
        elif parameter.default is not parameter.empty:
            yield name


def _takes(action: argparse.Action | None) -> tuple[bool, bool]:
    """Whether an option takes several numbers, and whether it takes one alone."""
    hint = getattr(action, "_typehint", None)
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    several = any(get_origin(kind) in (list, tuple) for kind in kinds)
    return several, any(kind in (int, float) for kind in kinds)


def _plain(message: str) -> str:
    """An error of jsonargparse's about a value, in the words of this package."""
    option = re.match(r'Parser key "([\w.]+)":', message)
    kind = re.search(r"Expected an? (.+)\. Got value|Subtypes: \[(.+)\]", message)
    value = re.search(r"(?:Got|Given) value: (.*)", message)
    lacking = re.search(r"arguments are required: (?:[\w-]+\.)*(\w+)", message)
    if lacking:
        return f"Expected {shown('--' + lacking[1])} but it is not given"
    if not (option and kind and value):
        return " ".join(message.split())
    words = kind[1] or kind[2]
    for pattern, meaning in KINDS.items():
        words = re.sub(pattern, meaning, words)
    return f"Expected {shown('--' + option[1])} to be {words} but got {value[1]}"
