"""Files of this machine by their paths, and of others by URLs that fsspec knows."""

import io
import stat
from pathlib import Path
from typing import Any, BinaryIO, cast

File = Path | str
"""A path; or a URL such as s3://bucket/photo.jpg, which stays a string."""


def as_file(name: str | Path) -> File:
    """What a name stands for: whatever has a scheme is a URL.

    Example:
        >>> as_file("s3://bucket/a.jpg"), as_file("a.jpg")
        ('s3://bucket/a.jpg', PosixPath('a.jpg'))
    """
    return name if isinstance(name, str) and "://" in name else Path(name)


def beside(file: File, name: str) -> File:
    """The file that a list or a table names, relative to its own folder."""
    if isinstance(file, Path):
        named = as_file(name)
        return named if isinstance(named, str) else file.parent / named
    return name if "://" in name else f"{file.rpartition('/')[0]}/{name}"


def existing(file: File) -> File:
    """The file itself.

    Raises:
        FileNotFoundError: There is none.
        ImportError: What fsspec needs for such URLs is not installed.
        ValueError: fsspec does not know such URLs.
    """
    if isinstance(file, Path):
        found = file.is_file()
    else:
        system, path = system_of(file)
        found = system.isfile(path)
    if not found:
        raise FileNotFoundError(f"Expected a file at {file} but found none")
    return file


def open_file(file: File) -> BinaryIO:
    """Open a file that can seek.

    Raises:
        OSError: It is missing, or is not a regular one.
    """
    if not isinstance(file, Path):
        system, path = system_of(file)
        return cast(BinaryIO, system.open(path, "rb"))
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError("not a regular file")  # reading a pipe could wait forever
    return file.open("rb")


def open_part(file: File, offset: int = 0, size: int = -1) -> BinaryIO:
    """Open a part of a file, or all of it; what is no whole local file is read now."""
    if isinstance(file, Path) and size < 0:
        return open_file(file)
    if isinstance(file, Path):
        with open_file(file) as content:
            content.seek(offset)
            return io.BytesIO(content.read(size))
    system, path = system_of(file)
    end = None if size < 0 else offset + size
    return io.BytesIO(system.cat_file(path, start=offset, end=end))


def system_of(url: str) -> tuple[Any, str]:
    """fsspec's file system of a URL, and the path there."""
    import fsspec  # here, since it takes time that local files need not wait for

    system, path = fsspec.core.url_to_fs(url)
    return system, path
