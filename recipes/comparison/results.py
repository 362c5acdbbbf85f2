"""Finished runs, a line of JSON each: a comparison goes on where it was interrupted."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rkdo_plugin.recipes.training.settings import RunSettings

RUNS = "runs.jsonl"
PACKAGES = ("rkdo_plugin", "rkdo_plugin.recipes", "rkdo_plugin.export")

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

    @property
    def key(self) -> str:
        """The same for runs that are the same."""
        return _key(self.row)


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

    A row has the "purpose" and the "settings" of its run, the version of the "code" and
    the fingerprint of the "data", and either "score", "steps" and "seconds", those of a
    step, or "error". A run that ended with an error is no finished run.

    Args:
        folder: Holds runs.jsonl.
        code: The version of the code.
        data: The fingerprint of the images.
        restart: Remove the older runs.

    Raises:
        ValueError: The file holds runs of another version or of other images, or is
            damaged.
    """

    def __init__(self, folder: Path, code: str, data: str, *, restart: bool) -> None:
        self.path = folder / RUNS
        self.code = code
        self.data = data
        folder.mkdir(parents=True, exist_ok=True)
        if restart:
            self.path.unlink(missing_ok=True)
        self._rows: dict[str, Row] = {}
        for row in self._read():
            self._check(row)
            self._rows[_key(row)] = row

    def __getitem__(self, planned: Planned) -> Row:
        """The row of a run, finished or not."""
        return self._rows[planned.key]

    def finished(self, planned: Planned) -> bool:
        """Whether a run came to its end."""
        return "score" in self._rows.get(planned.key, {})

    def add(self, planned: Planned, outcome: Row) -> None:
        """Add the row of a run, at once and whole."""
        row = {**planned.row, "code": self.code, "data": self.data, **outcome}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows[planned.key] = row

    def _read(self) -> Iterator[Row]:
        text = self.path.read_text("utf-8") if self.path.exists() else ""
        whole, _, torn = text.rpartition("\n")
        if torn:  # a line that a killed process began
            self.path.write_text(whole + "\n" if whole else "", "utf-8")
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"Expected line {number} of {self.path} to be a run but it is "
                    "damaged; remove it, or begin anew with `restart`"
                ) from error

    def _check(self, row: Row) -> None:
        for name, what in (("code", "code version"), ("data", "data fingerprint")):
            own = getattr(self, name)
            if row[name] != own:
                raise ValueError(
                    f"Expected runs of {what} {own} in {self.path} but got those of "
                    f"{row[name]}, which cannot be compared; choose another `out`, or "
                    "remove them and begin anew with `restart`"
                )


def _key(row: Row) -> str:
    return json.dumps([row["purpose"], row["settings"]], sort_keys=True)
