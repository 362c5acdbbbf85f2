"""The command line `rkdo`: parses, runs one command, turns errors into a status."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from rkdo_plugin import commands

COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__: command
    for command in (
        commands.demo,
        commands.train,
        commands.evaluate,
        commands.export,
        commands.verify,
        commands.embed,
        commands.benchmark,
        commands.plugins,
    )
}
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


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
        options = _options(parsed[parsed.command])
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
        skip: set[str | int] = {*flags, "loss", "loss_options"}
        subparser.add_function_arguments(
            command, as_group=False, as_positional=True, skip=skip
        )
        for flag in flags:
            subparser.add_argument(f"--{flag}", action="store_true")
        if name == "train" and words[:1] == ["train"]:
            _add_loss(subparser, words)
        subcommands.add_subcommand(name, subparser, help=summary)
    return parser


def _add_loss(parser: ArgumentParser, words: Sequence[str]) -> None:
    """Options of the loss that the words name, or of the named recipe's own loss."""
    from rkdo_plugin.plugins import host

    saved = _saved_settings(words)
    loss_options = saved.pop("loss_options", None) or {}
    loss = _value(words, "--loss") or saved.pop("loss", None)
    if loss is None:
        recipe = host().factory("recipe", _value(words, "--recipe") or "simclr")
        loss = inspect.signature(recipe).parameters["loss"].default
    parser.add_argument("--loss.name", type=str, default=loss)
    parser.add_function_arguments(host().factory("loss", loss), "loss")
    if saved:
        saved.pop("loss", None)
        parser.set_defaults(
            {f"loss.{option}": value for option, value in loss_options.items()} | saved
        )


def _saved_settings(words: Sequence[str]) -> dict[str, Any]:
    """Settings of the run that the words resume: they need not be typed again."""
    from rkdo_plugin.recipes.run_folder import read_config

    out = _value(words, "--out")
    return read_config(Path(out)) if "--resume" in words and out else {}


def _value(words: Sequence[str], option: str) -> str | None:
    """The value of an option, given as `--option value` or `--option=value`."""
    for word, following in zip(words, [*words[1:], None], strict=True):
        name, equals, value = word.partition("=")
        if name == option:
            return value if equals else following
    return None


def _nested_names(words: Sequence[str]) -> list[str]:
    """`--loss rkdo` as `--loss.name rkdo`, beside which `--loss.temperature` can be.

    And `--batch-size` as `--batch_size`: both spellings are common.
    """
    renamed = []
    for word in words:
        option, equals, value = word.partition("=")
        if option.startswith("--"):
            option = "--" + option.removeprefix("--").replace("-", "_")
            option = "--loss.name" if option == "--loss" else option
        renamed.append(option + equals + value)
    return renamed


def _options(parsed: Namespace) -> dict[str, Any]:
    options: dict[str, Any] = parsed.as_dict()
    if "loss" in options:
        options["loss_options"] = options.pop("loss")
        options["loss"] = options["loss_options"].pop("name")
    return options


if __name__ == "__main__":
    sys.exit(main())
