"""Embed a folder of images into a Parquet file."""

import os
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import (
    READ_ERRORS,
    UInt8Array,
    is_picture,
    listed,
    open_picture,
)
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.publish import publish

# Images that run at once. A CPU is as fast with few, and their activations are small.
BATCH_SIZES = {"cpu": 8, "cuda": 64, "tensorrt": 64}


@dataclass(frozen=True)
class EmbeddedFolder:
    """The result of `embed_folder`.

    Attributes:
        output: The Parquet file.
        images: Number of images that were embedded, which is the number of rows.
        unreadable: Pairs of a path, relative to the folder, and a reason: first each
            folder that cannot be listed, then each image that was left out. Bytes that
            are not UTF-8 are escaped in the path.
        others: Paths, relative to the folder, of the files that are no images.
        seconds: Wall-clock time on this machine. It includes reading the images.
    """

    output: Path
    images: int
    unreadable: tuple[tuple[str, str], ...]
    others: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        summary = f"{self.images} images in {self.output}, {self.seconds:.1f} s"
        left_out = [f"unreadable: {path}: {why}" for path, why in self.unreadable]
        if self.others:
            left_out.append(f"not images: {listed(self.others)}")
        return "\n".join([summary, *left_out])


def embed_folder(
    session: EmbeddingSession,
    folder: str | Path,
    output: str | Path,
    *,
    batch_size: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> EmbeddedFolder:
    """Embed every image below a folder, in the order of the paths.

    The file has two columns: `path`, relative to the folder and with forward slashes,
    and `vector`, D float32 numbers. Its schema carries the encoder's metadata.

    Args:
        session: The encoder.
        folder: Folder that is searched recursively for images: all that Pillow opens,
            whatever their names, and .npy arrays (H, W, C). Links are followed. A
            folder that several paths lead to is read once, under the first path.
        output: The Parquet file to write.
        batch_size: Number of images in memory at once; by default 8 on a CPU and 64 on
            a GPU.
        strict: Raise an error at the first file or folder that cannot be embedded,
            instead of leaving it out.
        overwrite: Whether an older file at `output` may be replaced.

    Returns:
        The number of images that were embedded, and the paths that could not be read.

    Raises:
        FileExistsError: `output` exists and `overwrite` is off.
        OSError: The folder of `output` is missing or cannot be written to.
        NotADirectoryError: `folder` is missing or is not a folder.
        ValueError: There are no images, no image can be read, the batch size is below
            1, or `strict` is on and something would be left out.
    """
    started = time.perf_counter()
    folder, output = Path(folder), Path(output)
    if batch_size is None:
        batch_size = BATCH_SIZES[session.provider]
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` to be at least 1 but got {batch_size}")
    unreadable: list[tuple[str, str]] = []
    paths, others = _images_below(folder, unreadable)
    if strict and others:
        raise ValueError(f"Expected only images in {folder} but got {listed(others)}")
    vectors = pa.list_(pa.float32(), session.dim)
    schema = pa.schema({"path": pa.string(), "vector": vectors}, session.metadata)
    embedded = 0
    with (
        publish(output, overwrite=overwrite) as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
        tqdm(
            total=len(paths),
            desc="embed",
            unit="image",
            mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds between lines
        ) as progress,
    ):
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            names, images = _read(batch, folder, session, unreadable)
            if strict and unreadable:
                raise ValueError(
                    f"Expected to read all of {folder} but not "
                    + ": ".join(unreadable[0])
                )
            if names:
                embeddings = pa.array(session.embed(np.stack(images)).ravel())
                column = pa.FixedSizeListArray.from_arrays(embeddings, type=vectors)
                writer.write_batch(
                    pa.record_batch([pa.array(names), column], schema=schema)
                )
            embedded += len(names)
            progress.update(len(batch))
        if not embedded:
            name, reason = unreadable[0]
            raise ValueError(
                f"Expected readable images in {folder} but none of {len(unreadable)} "
                f"can be read; the first is {name}: {reason}"
            )
    seconds = time.perf_counter() - started
    return EmbeddedFolder(output, embedded, tuple(unreadable), others, seconds)


def _images_below(
    folder: Path, unreadable: list[tuple[str, str]]
) -> tuple[list[Path], tuple[str, ...]]:
    """The sorted paths of images, and the names of other files.

    Folders that cannot be listed are noted.
    """
    if not folder.is_dir():
        raise NotADirectoryError(
            f"Expected a folder of images at {folder} but found no folder"
        )

    def note(error: OSError) -> None:
        name = Path(error.filename).relative_to(folder).as_posix()
        unreadable.append(_left_out(name, error))

    paths: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # another path led here, or links form a loop
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        paths += [Path(place, name) for name in files]
    images, others = [], []
    for path in sorted(paths):
        if is_picture(path):
            images.append(path)
        else:
            others.append(_printable(path.relative_to(folder).as_posix()))
    if not images and not unreadable:
        found = f"got only {listed(others)}" if others else "found none"
        raise ValueError(f"Expected images in {folder} but {found}")
    return images, tuple(others)


def _read(
    paths: list[Path],
    folder: Path,
    session: EmbeddingSession,
    unreadable: list[tuple[str, str]],
) -> tuple[list[str], list[UInt8Array]]:
    """Read names and pixels of images; note the images that cannot be read."""
    names, images = [], []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            name.encode()  # Parquet needs UTF-8; file names on Linux may be any bytes
            if not stat.S_ISREG(path.stat().st_mode):
                raise OSError("not a regular file")  # reading a pipe could wait forever
            picture = open_picture(path, session.channels)
            images.append(resize(picture, session.image_size, session.channels))
            names.append(name)
        except READ_ERRORS as error:
            unreadable.append(_left_out(name, error))
    return names, images


def _left_out(name: str, error: Exception) -> tuple[str, str]:
    return _printable(name), f"{type(error).__name__}: {error}"


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
