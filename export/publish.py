"""Files appear whole: a temporary file beside the target, fsync, rename."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def publish(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary file that becomes `path` when the block succeeds.

    Everything that can be known beforehand fails here, before the expensive work. If
    the block raises, nothing is left behind and an older file at `path` survives.

    Args:
        path: Where the file appears.
        overwrite: Whether an older file may be replaced.

    Yields:
        An empty file in the same folder, to be written to.

    Raises:
        FileExistsError: `path` exists and `overwrite` is off.
        FileNotFoundError: The folder of `path` does not exist.
        NotADirectoryError: The folder of `path` is a file.
        IsADirectoryError: `path` is a folder.
        PermissionError: The folder cannot be written to.
    """
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file to write but {path} is a folder")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite to replace it")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        # Not tempfile: its files are readable by their owner alone, also once renamed.
        temporary.open("xb").close()
    except OSError as error:
        raise type(error)(
            f"cannot write to the output folder {path.parent}: {error.strerror}"
        ) from error
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
