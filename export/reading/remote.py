"""Folders that fsspec knows: object stores, and whatever else has a URL."""

from collections.abc import Iterator
from typing import Any

from rkdo_plugin.export.encoder.pictures import has_picture_name
from rkdo_plugin.export.reading.files import system_of
from rkdo_plugin.export.reading.item import Item
from rkdo_plugin.export.reading.source import Listed


class RemoteFolder(Listed):
    """Every image below a folder with a URL, in the order of the paths.

    Images are known by their names alone: opening a file to look takes a request.

    Args:
        url: Such as s3://bucket/photographs or memory://photographs.

    Raises:
        ImportError: What fsspec needs for such URLs is not installed.
        NotADirectoryError: There is no such folder.
        ValueError: fsspec does not know such URLs.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url.rstrip("/")
        self._system, self._path = system_of(self.url)
        if not self._system.isdir(self._path):
            raise NotADirectoryError(
                f"Expected a folder of images at {url} but found no folder"
            )

    def __str__(self) -> str:
        return self.url

    def __iter__(self) -> Iterator[Item]:
        self.others, self.unlisted = [], []
        for name in self._files(self._path):
            if has_picture_name(name):
                yield Item(name, f"{self.url}/{name}")
            else:
                self.others.append(name)

    def count(self) -> int:
        """The number of images."""
        return sum(has_picture_name(name) for name in self._files(self._path))

    def _files(self, folder: str) -> Iterator[str]:
        """Names of files in order, a folder at a time."""
        found: list[dict[str, Any]] = self._system.ls(folder, detail=True)
        for entry in sorted(found, key=lambda entry: _last(entry["name"])):
            path = entry["name"].rstrip("/")
            if entry["type"] == "directory":
                yield from self._files(path)
            elif path != folder.rstrip("/"):  # an empty object marks the folder itself
                yield path[len(self._path.rstrip("/")) :].lstrip("/")


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
