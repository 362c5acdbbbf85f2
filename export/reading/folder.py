"""Folders of images, and lists of their paths."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

from rkdo_plugin.export.encoder.pictures import is_picture
from rkdo_plugin.export.reading.files import File, beside, existing, open_file
from rkdo_plugin.export.reading.item import Item, printable
from rkdo_plugin.export.reading.source import Listed


class Folder(Listed):
    """Every image below a folder, in the order of the paths.

    Links are followed. A folder that several paths lead to is read once, under the
    first path.

    Args:
        folder: What is not an image by its name or its first bytes is passed over.

    Raises:
        NotADirectoryError: There is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        if not folder.is_dir():
            raise NotADirectoryError(
                f"Expected a folder of images at {folder} but found no folder"
            )
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def __iter__(self) -> Iterator[Item]:
        self.others, self.unlisted = [], []
        for path in self._files(self.folder, set()):
            name = path.relative_to(self.folder).as_posix()
            if is_picture(path):
                yield Item(name, path)
            else:
                self.others.append(printable(name))

    def count(self) -> int:
        """The number of files."""
        return sum(1 for _ in Folder(self.folder)._files(self.folder, set()))

    def _files(self, place: Path, seen: set[str]) -> Iterator[Path]:
        """Paths of files in order, a folder at a time."""
        real = os.path.realpath(place)
        if real in seen:  # another path led here, or links form a loop
            return
        seen.add(real)
        names: list[str] = []  # no more than these: a folder may hold a million
        folders: set[str] = set()
        try:
            with os.scandir(place) as found:
                for entry in found:
                    names.append(entry.name)
                    if _is_folder(entry):
                        folders.add(entry.name)
        except OSError as error:
            name = place.relative_to(self.folder).as_posix()
            self.unlisted.append((printable(name), f"{type(error).__name__}: {error}"))
            return
        names.sort()
        for name in names:
            if name in folders:
                yield from self._files(place / name, seen)
            else:
                yield place / name


class PathList(Listed):
    """A text file with a path in each line, relative to the file's folder.

    The key is the line. Empty lines are passed over.
    """

    def __init__(self, file: File) -> None:
        super().__init__()
        self.file = existing(file)

    def __str__(self) -> str:
        return str(self.file)

    def __iter__(self) -> Iterator[Item]:
        with (
            open_file(self.file) as content,
            io.TextIOWrapper(content, "utf-8", "surrogateescape") as lines,
        ):
            for line in lines:
                name = line.rstrip("\r\n")
                if name:
                    yield Item(name, beside(self.file, name))

    def count(self) -> int:
        """The number of paths."""
        return sum(1 for _ in self)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
