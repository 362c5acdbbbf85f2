"""Write files that appear whole: written and synced before they get their name."""

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

# Error numbers of `os.link` on a file system without links, such as FAT.
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


def require_writable(path: Path, *, overwrite: bool) -> None:
    """Check that a file could appear at a path.

    Raises:
        FileExistsError: There is a file, and `overwrite` is off.
        FileNotFoundError: The folder does not exist.
        IsADirectoryError: The path is a folder.
        NotADirectoryError: The folder is a file.
        PermissionError: The folder cannot be written to.
    """
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file to write but {path} is a folder")
    if path.exists() and not overwrite:
        raise _exists(path)
    try:
        # Not with tempfile: only the owner could read its files, even after a rename.
        with _opened(path.parent, _beside(path)):
            pass
    except OSError as error:
        raise type(error)(
            f"Expected to write to the output folder {path.parent} but got: "
            f"{error.strerror}"
        ) from error


@contextmanager
def staged(path: Path, content: bytes) -> Iterator[Callable[[bool], None]]:
    """Write a file and yield a function that gives it its name.

    Args:
        path: Where the file will appear.
        content: Bytes of the file.

    Yields:
        A function that makes the file appear. Its argument says whether an older file
        may be replaced. If not, only one of several writers at once succeeds.

    Raises:
        FileExistsError: From the function: there is an older file.
        OSError: The folder cannot be written to, or the disk is full.
    """
    with _unnamed(path) as (file, appear):
        file.write(content)
        file.sync()
        yield appear


@contextmanager
def growing(path: Path, *, overwrite: bool) -> Iterator["Growing"]:
    """Yield a file that grows, and becomes `path` when the block succeeds.

    On most file systems of Linux it has no name until then. So not even a killed
    process leaves a part of it. If the block raises an error, nothing of the file is
    left, and an older file at `path` stays. That it can appear there is checked before
    the block runs, so that expensive work does not run in vain.

    Args:
        path: Where the file appears.
        overwrite: Whether an older file may be replaced. If not, only one of several
            writers at once succeeds.

    Yields:
        A file that is open for writing. What it raises names `path`.

    Raises:
        FileExistsError: `path` exists before or after the block, and `overwrite` is
            off.
        OSError: The folder cannot be written to, or the disk is full.
    """
    require_writable(path, overwrite=overwrite)
    with _unnamed(path) as (file, appear):
        yield file
        file.sync()
        appear(overwrite)


class Growing(io.RawIOBase):
    """A file that is written to from its start to its end.

    Args:
        descriptor: Of the open file. It is not closed with this object.
        path: Names the file in errors.
    """

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__()
        self._descriptor, self._path, self._size = descriptor, path, 0

    def writable(self) -> bool:
        """Say that it is."""
        return True

    def tell(self) -> int:
        """The number of bytes that were written."""
        return self._size

    def write(self, content: Any) -> int:
        """Write all of it."""
        whole = memoryview(content).cast("B")
        rest = whole
        with naming(self._path):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._size += len(whole)
        return len(whole)

    def sync(self) -> None:
        """Wait until the disk has it."""
        with naming(self._path):
            os.fsync(self._descriptor)


def give_name(temporary: Path, path: Path) -> None:
    """Give a file its name, unless another file has that name.

    Raises:
        FileExistsError: Another file has the name.
    """
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if path.exists():
            raise _exists(path) from None
        temporary.rename(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file's name to errors, which name no file for a bare descriptor."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def remove_drafts(folder: Path, *names: str) -> None:
    """Remove what killed processes left of files; no other may be writing them now.

    Args:
        folder: Holds the files.
        names: Of the files; patterns as of `Path.glob`.
    """
    for name in names:
        for draft in folder.glob(_draft(name, "[0-9a-f]" * 32)):
            draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file that appears whole or not at all. `staged` describes the errors."""
    with staged(path, content) as appear:
        appear(overwrite)


@contextmanager
def _unnamed(path: Path) -> Iterator[tuple[Growing, Callable[[bool], None]]]:
    """Open a new file, and yield it and what gives it its name."""
    temporary = _beside(path)
    with _opened(path.parent, temporary) as (file, link):

        def appear(overwrite: bool) -> None:
            if overwrite:
                link(temporary)
                temporary.replace(path)
            else:
                link(path)

        yield Growing(file, path), appear


@contextmanager
def _opened(
    folder: Path, temporary: Path
) -> Iterator[tuple[int, Callable[[Path], None]]]:
    """Open a new file, without a name if the system can, and yield how to name it."""
    file = _nameless(folder)
    if file is not None:
        number = os.open(folder, os.O_RDONLY)
        # With a folder's descriptor, Python follows the link to the open file.
        try:
            yield file, partial(_name_open, file, number)
            os.fsync(number)
        finally:
            os.close(number)
            os.close(file)
            temporary.unlink(missing_ok=True)
        return
    binary = getattr(os, "O_BINARY", 0)  # without it Windows translates line ends
    file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | binary, 0o666)
    closing = ExitStack()
    closing.callback(os.close, file)

    def link(to: Path) -> None:
        closing.close()  # Windows cannot rename an open file
        if to != temporary:
            give_name(temporary, to)

    try:
        with closing:
            yield file, link
    finally:
        temporary.unlink(missing_ok=True)


def _name_open(file: int, folder: int, path: Path) -> None:
    try:
        os.link(f"/proc/self/fd/{file}", path, src_dir_fd=folder)
    except FileExistsError as error:
        raise _exists(path) from error


def _nameless(folder: Path) -> int | None:
    """Open a file without a name. Return None if the system has no such files."""
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except AttributeError:  # not Linux
        return None
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EISDIR):  # the file system cannot
            return None
        raise


def _beside(path: Path) -> Path:
    return path.with_name(_draft(path.name, uuid4().hex))


def _draft(name: str, number: str) -> str:
    return f".{name}.{number}.tmp"


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(
        f"Expected no file at {path} but it exists; pass `overwrite` to replace it"
    )
