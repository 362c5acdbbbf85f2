"""Embed the images of a folder, a list or a table into Parquet."""

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa
from tqdm import tqdm

from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.reading.decoding import Decoder, cores, default_workers
from rkdo_plugin.export.reading.folder import Folder
from rkdo_plugin.export.reading.open import open_source
from rkdo_plugin.export.reading.source import Source
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.serving.arrays import into_arrays
from rkdo_plugin.export.serving.parts import FILE, PART_IMAGES, into_file, into_parts
from rkdo_plugin.export.serving.ray_engine import RayEngine, RaySession
from rkdo_plugin.export.serving.run import SLOWER, Failure, Run
from rkdo_plugin.export.serving.shares import seconds_for_each, workers_for

# Images that run at once. A CPU is as fast with few, and their activations are small.
BATCH_SIZES = {"cpu": 4, "cuda": 64, "tensorrt": 64}
FORMS = ("parquet", "npy")
DTYPES = {"float32": pa.float32(), "float16": pa.float16()}
SHOWN = 20  # lines of a summary for images that failed


@dataclass(frozen=True)
class EmbeddedFolder:
    """The result of `embed_images` and of `embed_folder`.

    Attributes:
        output: The Parquet file, or the folder of parts.
        images: Number of images that were embedded, which is the number of rows.
        unreadable: Pairs of a path or key and a reason: first each folder that cannot
            be listed, then each image that was left out. Bytes that are not UTF-8 are
            escaped in the path.
        others: Paths, relative to the folder, of the files that are no images.
        seconds: Wall-clock time on this machine. It includes reading the images.
        waited: Share of that time in which the model waited for images to be decoded.
            Above one half, decoding is the slower side. None where it is not known.
        resumed: Number of the images that earlier runs had embedded.
    """

    output: Path
    images: int
    unreadable: tuple[Failure, ...]
    others: tuple[str, ...]
    seconds: float
    waited: float | None = None
    resumed: int = 0

    def __str__(self) -> str:
        new = self.images - self.resumed
        rate = f", {new / self.seconds:.0f} images/s" if new and self.seconds else ""
        summary = f"{self.images} images in {self.output}, {self.seconds:.1f} s{rate}"
        lines = [summary]
        if self.resumed:
            lines.append(f"embedded before: {self.resumed}")
        if new and self.waited is not None:
            slower = "decoding" if self.waited > SLOWER else "the model"
            lines.append(
                f"the model waited for images {self.waited:.0%} of the time: {slower} "
                "is the slower side"
            )
        lines += [f"unreadable: {key}: {why}" for key, why in self.unreadable[:SHOWN]]
        if len(self.unreadable) > SHOWN:
            lines.append(f"unreadable: {len(self.unreadable) - SHOWN} more")
        if self.others:
            lines.append(f"not images: {listed(self.others)}")
        return "\n".join(lines)


def embed_folder(
    session: EmbeddingSession,
    folder: str | Path,
    output: str | Path,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
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
        output: The Parquet file to write, or else a folder, as `embed_images` says.
        batch_size: Number of images that run at once; by default 4 on a CPU and 64 on a
            GPU.
        workers: Number of processes that decode images; by default as many as keep the
            model busy, and none for few images.
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
    return embed_images(
        session,
        Folder(Path(folder)),
        output,
        batch_size=batch_size,
        workers=workers,
        strict=strict,
        overwrite=overwrite,
    )


def embed_images(
    session: EmbeddingSession | RaySession,
    source: Source | str | Path,
    output: str | Path,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    part_images: int = PART_IMAGES,
    dtype: Literal["float32", "float16"] = "float32",
    form: Literal["parquet", "npy"] = "parquet",
    draft: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    restart: bool = False,
) -> EmbeddedFolder:
    """Embed the images of a source, in its order, into one file or a folder of parts.

    The columns are the key, `path` for a folder, `vector`, D numbers, and those that
    the source carries along. The schema carries the encoder's metadata.

    An output that ends in .parquet is one file, which appears at the end. Any other one
    is a folder. Its parts `part-00000.parquet` and so on appear one by one, each whole.
    The same call again goes on after the parts that are there. What could not be read
    is in `failed.parquet`.

    Args:
        session: The encoder. One on a CPU with `threads=1` runs on each core at once,
            which takes less time than all cores at one batch. A `RaySession` embeds on
            the machines of a Ray cluster, and this one writes what they embed.
        source: What `open_source` returns, or a name for it.
        output: The Parquet file or the folder.
        batch_size: Number of images that run at once; by default 4 on a CPU and 64 on a
            GPU.
        workers: Number of processes that decode images; by default as many as keep the
            model busy, at most one for each core, and none for few images. On Ray it is
            the number of actors; by default one for each CPU or GPU of the cluster.
        part_images: Number of the source's images for each part.
        dtype: Of the vectors in the table.
        form: With "npy" the folder holds `vectors.npy` (N, D) and `paths.parquet` at
            the end, and the parts until then.
        draft: Let libjpeg decode large JPEGs at 1/2, 1/4 or 1/8, as long as four times
            the encoder's size is left. docs/embedding.md says what it saves and moves.
        strict: Raise an error if anything was left out: at the first such file or
            folder for one file, and at the end for a folder of parts, which stay.
        overwrite: Whether an older file may be replaced.
        restart: Remove the parts of an older job, and begin anew.

    Returns:
        The number of images that were embedded, and what could not be read.

    Raises:
        FileExistsError: There is an older file, or something else than parts.
        OSError: The output cannot be written to, or the source is missing.
        RuntimeError: A process that decodes images was killed. On Ray: a worker
            failed, or lists other images than this process.
        ValueError: There are no images; none can be read; two have one key; a number is
            out of range; the parts are of another model, source or option; the source
            has changed since; or `strict` is on and something was left out.
    """
    started = time.perf_counter()
    if isinstance(source, str | Path):
        source = open_source(source)
    output = Path(output)
    if batch_size is None:
        batch_size = BATCH_SIZES[session.provider]
    if dtype not in DTYPES:
        raise ValueError(
            f"Expected `dtype` to be {' or '.join(DTYPES)} but got '{dtype}'"
        )
    if form not in FORMS:
        raise ValueError(f"Expected `form` to be {' or '.join(FORMS)} but got '{form}'")
    if form == "npy" and output.suffix == FILE:
        raise ValueError(f"Expected a folder for the form npy but got {output}")
    for name, number in (("batch_size", batch_size), ("part_images", part_images)):
        if number < 1:
            raise ValueError(f"Expected `{name}` to be at least 1 but got {number}")
    strict_now = strict and output.suffix == FILE
    run = Run(session, source, batch_size, DTYPES[dtype], strict_now, draft)
    total = source.count()
    with (
        _engine(run, workers, total) as engine,
        tqdm(
            total=total,
            desc="embed",
            unit="image",
            mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds between lines
        ) as run.progress,
    ):
        if output.suffix == FILE:
            into_file(run, output, overwrite)
        elif form == "npy":
            into_arrays(run, output, part_images, restart)
        else:
            into_parts(run, output, part_images, restart)
    run.require_images()
    unlisted = source.unlisted
    if strict and (run.failed or unlisted or source.others):
        raise ValueError(
            f"Expected to embed all of {source} but left out "
            f"{len(run.failed) + len(unlisted) + len(source.others)}; see {output}"
        )
    seconds = time.perf_counter() - started
    return EmbeddedFolder(
        output,
        run.embedded,
        (*unlisted, *run.failed),
        tuple(source.others),
        seconds,
        None if engine.waited is None else engine.waited / seconds,
        run.resumed,
    )


def _engine(run: Run, workers: int | None, total: int) -> Decoder | RayEngine:
    """Make what embeds the images, and tell the run."""
    session = run.session
    if isinstance(session, RaySession):
        engine = RayEngine(session, run, workers)
        run.engine, run.mapped = engine, engine.map
        return engine
    most = workers
    if workers is None:
        workers = most = default_workers(total)
        if most and session.provider == "cpu":
            each = seconds_for_each(session, run.source, run.draft)
            workers = workers_for(most, *each)
    lanes = 1 if session.threads is None else max(1, cores() // session.threads)
    decoder = Decoder(
        session.image_size,
        session.channels,
        workers,
        run.batch_size,
        lanes,
        run.draft,
        most,
    )
    run.engine, run.mapped = decoder, partial(decoder.map, use=session.embed)
    return decoder
