"""The command line `rkdo`: parse, run one command, turn errors into a status."""

import os
import sys
from collections.abc import Sequence

from rkdo_plugin.cli.commands import COMMANDS
from rkdo_plugin.cli.parser import parse
from rkdo_plugin.cli.words import as_typed, named

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
        command, options = parse(words, COMMANDS)
        command(**options)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        message = as_typed(str(error), named(words, COMMANDS))
        print(f"rkdo: {message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        message = as_typed(f"interrupted {interrupt}", named(words, COMMANDS))
        print(f"rkdo: {message}".rstrip(), file=sys.stderr)
        return INTERRUPTED
    return 0
