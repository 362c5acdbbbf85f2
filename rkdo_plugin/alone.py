"""Let one process at a time do something to a folder or a file."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where nothing keeps two processes apart
    fcntl = None  # type: ignore[assignment]

# Error numbers of file systems that cannot lock, such as some over a network.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)

_held: set[int] = set()  # descriptors of what this process locks


@contextmanager
def alone(place: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes, which ask for the same, from a place.

    The lock ends with this process, however that ends, and leaves no file. Where the
    system or the file system has no locks, there is none.

    Args:
        place: A folder, or a file in it that is never replaced.
        wait: Wait until no other process holds it.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is off.
        OSError: There is no such folder or file.
    """
    if fcntl is None:
        yield
        return
    number = os.open(place, os.O_RDONLY)
    _held.add(number)
    try:
        _lock(number, place, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        if number in _held:
            _held.remove(number)
            os.close(number)


def _lock(number: int, place: Path, how: int) -> None:
    try:
        fcntl.flock(number, how)
    except BlockingIOError as error:
        folder = place if place.is_dir() else place.parent
        raise BlockingIOError(
            f"Expected no other process to write into {folder} but one does; wait for "
            "its end, or choose another folder"
        ) from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _let_go() -> None:
    """Close what a forked process got from its parent: it would outlive the parent."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
