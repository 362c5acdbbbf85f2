"""Memory that processes share."""

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from rkdo_plugin.export.encoder.pictures import UInt8Array

Shape = tuple[int, ...]


class SharedFile:
    """A file in memory, or else in the folder for temporary files, that others map.

    On Linux it has no name in any folder, so that it is gone with this process, however
    that ends; and it does not count against the size of /dev/shm, which containers keep
    small.
    """

    def __init__(self, size: int) -> None:
        self._closing = ExitStack()
        if hasattr(os, "memfd_create"):
            number = os.memfd_create("rkdo-images")
            self._closing.callback(os.close, number)
            os.ftruncate(number, size)
            self.path = f"/proc/{os.getpid()}/fd/{number}"
            return
        folder = self._closing.enter_context(tempfile.TemporaryDirectory())
        file = Path(folder, "images")
        file.touch()
        os.truncate(file, size)
        self.path = str(file)

    def __enter__(self) -> "SharedFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()


def mapped(path: str, shape: Shape) -> UInt8Array:
    """An array in a shared file."""
    return np.memmap(path, dtype=np.uint8, mode="r+", shape=shape)
