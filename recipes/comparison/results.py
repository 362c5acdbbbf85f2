"""Finished runs, a line of JSON each: a comparison goes on where it was interrupted."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rkdo_plugin.recipes.training.settings import RunSettings

RUNS, TABLE, CURVES = "runs.jsonl", "table.md", "curves.csv"
ABOUT = "comparison.json"  # what a finished comparison was of
PACKAGES = ("rkdo_plugin", "rkdo_plugin.recipes", "rkdo_plugin.export")

RUN_KEY = ("purpose", "settings")
RESULT = "result"
TUNING = "tuning"

Row = dict[str, Any]


@dataclass(frozen=True)
class Planned:
    """A run to be.

    Attributes:
        purpose: "result", or "tuning", which neither sees the test images nor trains on
            the images that it is scored by.
        settings: All that decides what it learns.
    """

    purpose: str
    settings: RunSettings

    @property
    def row(self) -> Row:
        """What a row says of it: "purpose" and "settings"."""
        return {"purpose": self.purpose, "settings": self.settings.as_config()}


def code_version() -> str:
    """The version of this package with a hash of its source files, and PyTorch's."""
    digest = blake2b(digest_size=8)
    sources: dict[str, bytes] = {}
    for package in PACKAGES:
        (folder,) = import_module(package).__path__
        for path in Path(folder).rglob("*.py"):
            name = "/".join([*package.split("."), *path.relative_to(folder).parts])
            sources[name] = path.read_bytes()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + sources[name] + b"\0")
    own = version("rkdo-plugin")
    return f"rkdo-plugin {own} ({digest.hexdigest()}), torch {version('torch')}"


class Results:
    """The runs of one version of the code on the same images, in a file.

    A row has what a run is, as "purpose" and "settings"; what all runs of the file have
    in common, as "code" and "data"; and what came of it, or an "error". A run that
    ended with an error is no finished run.

    Args:
        folder: Holds runs.jsonl.
        shared: What all runs have in common, by name.
        key: The names of what a run is.
        restart: Remove what the folder has of an older comparison.

    Raises:
        ValueError: The file holds runs with something else in common, or is damaged.
    """

    def __init__(
        self,
        folder: Path,
        shared: Mapping[str, str],
        key: Sequence[str],
        *,
        restart: bool,
    ) -> None:
        self.path = folder / RUNS
        self._shared = shared
        self._key = key
        folder.mkdir(parents=True, exist_ok=True)
        if not self.path.exists() and any(folder.iterdir()):
            raise ValueError(
                f"Expected `out` to be a new folder, or one with a {RUNS}, but "
                f"{folder} holds something else"
            )
        if restart:
            for name in (RUNS, TABLE, CURVES, ABOUT):
                (folder / name).unlink(missing_ok=True)
        self._rows: dict[str, Row] = {}
        for row in self._read():
            self._check(row)
            self._rows[self.name(row)] = row

    def __getitem__(self, run: Row) -> Row:
        """The row of a run, finished or not."""
        return self._rows[self.name(run)]

    def finished(self, run: Row) -> bool:
        """Whether a run came to its end."""
        return "error" not in self._rows.get(self.name(run), {"error": "not run"})

    def add(self, run: Row, outcome: Row) -> None:
        """Add the row of a run, at once and whole."""
        row = {**run, **self._shared, **outcome}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows[self.name(run)] = row

    def name(self, run: Row) -> str:
        """The same for runs that are the same."""
        return json.dumps([run[name] for name in self._key], sort_keys=True)

    def _read(self) -> Iterator[Row]:
        content = self.path.read_bytes() if self.path.exists() else b""
        whole, end, torn = content.rpartition(b"\n")
        if torn:  # a line that a killed process began
            os.truncate(self.path, len(whole + end))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
                for name in (*self._key, *self._shared):
                    row[name]  # an error where there is none
                yield row
            except (KeyError, TypeError, ValueError, RecursionError) as error:
                raise ValueError(
                    f"Expected line {number} of {self.path} to be a run but it is "
                    "damaged; remove it, or begin anew with `restart`"
                ) from error

    def _check(self, row: Row) -> None:
        for name, own in self._shared.items():
            if row[name] != own:
                raise ValueError(
                    f"Expected runs of {name} {own} in {self.path} but got those of "
                    f"{row[name]}, which cannot be compared; choose another `out`, or "
                    "begin anew with `restart`, which removes them"
                )
