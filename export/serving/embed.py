"""Embed a folder of images into a Parquet file."""

import os
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from rkdo_plugin.export.encoder.images import UInt8Array, resize
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.publish import publish

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# Errors of PIL's decoders for damaged, unsupported and oversized files. PIL's own
# UnidentifiedImageError is an OSError.
READ_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    NotImplementedError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class EmbeddedFolder:
    """The result of `embed_folder`.

    Attributes:
        output: The Parquet file.
        images: Number of images that were embedded, which is the number of rows.
        unreadable: Pairs of a path, relative to the folder, and a reason: first each
            folder that cannot be listed, then each image that was left out. Bytes that
            are not UTF-8 are escaped in the path.
        seconds: Wall-clock time on this machine. It includes reading the images.
    """

    output: Path
    images: int
    unreadable: tuple[tuple[str, str], ...]
    seconds: float

    def __str__(self) -> str:
        summary = f"{self.images} images in {self.output}, {self.seconds:.1f} s"
        left_out = [f"unreadable: {path}: {why}" for path, why in self.unreadable]
        return "\n".join([summary, *left_out])


def embed_folder(
    session: EmbeddingSession,
    folder: str | Path,
    output: str | Path,
    *,
    batch_size: int = 64,
    overwrite: bool = False,
) -> EmbeddedFolder:
    """Embed every image below a folder, in the order of the paths.

    The file has two columns: `path`, relative to the folder and with forward slashes,
    and `vector`, D float32 numbers. Its schema carries the encoder's metadata.

    Args:
        session: The encoder.
        folder: Folder that is searched recursively for images by their extension. Links
            are followed. A folder that several paths lead to is read once, under the
            first path.
        output: The Parquet file to write.
        batch_size: Number of images in memory at once.
        overwrite: Whether an older file at `output` may be replaced.

    Returns:
        The number of images that were embedded, and the paths that could not be read.

    Raises:
        FileExistsError: `output` exists and `overwrite` is off.
        OSError: The folder of `output` is missing or cannot be written to.
        NotADirectoryError: `folder` is missing or is not a folder.
        ValueError: There are no images, no image can be read, or the batch size is
            below 1.
    """
    started = time.perf_counter()
    folder, output = Path(folder), Path(output)
    if batch_size < 1:
        raise ValueError(f"Expected `batch_size` to be at least 1 but got {batch_size}")
    unreadable: list[tuple[str, str]] = []
    paths = _images_below(folder, unreadable)
    vectors = pa.list_(pa.float32(), session.dim)
    schema = pa.schema({"path": pa.string(), "vector": vectors}, session.metadata)
    embedded = 0
    with (
        publish(output, overwrite=overwrite) as temporary,
        pq.ParquetWriter(temporary, schema) as writer,
        tqdm(total=len(paths), desc="embed", unit="image") as progress,
    ):
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            names, images = _read(batch, folder, session, unreadable)
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
    return EmbeddedFolder(output, embedded, tuple(unreadable), seconds)


def _images_below(folder: Path, unreadable: list[tuple[str, str]]) -> list[Path]:
    """Return the sorted paths of images; note folders that cannot be listed."""
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
    paths = sorted(path for path in paths if path.suffix.lower() in EXTENSIONS)
    if not paths and not unreadable:
        raise ValueError(
            f"Expected images ({', '.join(EXTENSIONS)}) in {folder} but found none"
        )
    return paths


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
            with Image.open(path) as image:
                images.append(resize(image, session.image_size, session.channels))
            names.append(name)
        except READ_ERRORS as error:
            unreadable.append(_left_out(name, error))
    return names, images


def _left_out(name: str, error: Exception) -> tuple[str, str]:
    printable = os.fsencode(name).decode("utf-8", "backslashreplace")
    return printable, f"{type(error).__name__}: {error}"
