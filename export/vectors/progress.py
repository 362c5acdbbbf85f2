"""How far a loop is, for whoever waits for it."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

PATIENCE = 2.0  # seconds that pass without a bar
Step = TypeVar("Step")


def watched(steps: Iterable[Step], name: str, total: int) -> Iterator[Step]:
    """The steps of a loop, with a bar on stderr if they take long."""
    return iter(
        tqdm(
            steps,
            desc=name,
            total=total,
            leave=False,
            delay=PATIENCE,
            mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds between lines
        )
    )
