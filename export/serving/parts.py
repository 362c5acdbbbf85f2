"""Where rows go: one Parquet file, or a folder of parts that can be gone on with."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rkdo_plugin.alone import alone
from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.file.metadata import PREFIX
from rkdo_plugin.export.reading.folder import Folder
from rkdo_plugin.export.reading.item import Item, printable
from rkdo_plugin.export.reading.source import Source
from rkdo_plugin.export.reading.table import reading_table
from rkdo_plugin.export.serving.run import Failure, Run
from rkdo_plugin.publish import Growing, growing, remove_drafts, require_writable

FILE = ".parquet"  # the end of an output that is one file
PART_IMAGES = 8192  # of the source for each part
GROUP_BYTES = 2**20  # of a row group, which is in memory until it is written
PAGE_BYTES = 2**16  # of which several copies are
PART = re.compile(r"part-(\d{5,})\.parquet")
FAILED = "failed.parquet"
JOB, CONTENT = b"rkdo.job", b"rkdo.part"  # keys of a part's metadata
SHA256 = f"{PREFIX}sha256"  # of the encoder


def into_file(run: Run, output: Path, overwrite: bool) -> None:
    """Write one file, which appears whole at the end."""
    with (
        growing(output, overwrite=overwrite) as file,
        _writing(file, run.schema) as writer,
    ):
        _write_rows(writer, run.rows(_unique(run.source)))
        run.refuse_others()
        run.require_images()
    _write_failed(run, output.with_suffix("." + FAILED))


def into_parts(run: Run, output: Path, part_images: int, restart: bool) -> None:
    """Write the parts that are not there yet, each of which appears whole.

    Raises:
        BlockingIOError: Another process writes parts there.
    """
    output.mkdir(exist_ok=True)
    with alone(output):
        _fill(run, output, part_images, restart)


def _fill(run: Run, output: Path, part_images: int, restart: bool) -> None:
    require_writable(output / FAILED, overwrite=True)
    remove_drafts(output, f"part-*{FILE}", FAILED)
    names = sorted(path.name for path in output.iterdir())
    there = [name for name in names if PART.fullmatch(name) or name == FAILED]
    strange = [name for name in names if name not in there and name[0] != "."]
    if strange:
        raise FileExistsError(
            f"Expected {output} to be a new folder, or one of parts, but it has "
            f"{listed(strange)}"
        )
    if restart:
        for name in there:
            (output / name).unlink()
        there = []
    done = frozenset(int(match[1]) for name in there if (match := PART.fullmatch(name)))
    run.left = _Left(run.source, part_images, done)
    job = _job(run, part_images)
    schema = run.schema.with_metadata({**(run.schema.metadata or {}), JOB: job})
    items, number = iter(_unique(run.source)), 0
    while (first := next(items, None)) is not None:
        part = _Listed(chain([first], islice(items, part_images - 1)))
        path = output / f"part-{number:05}{FILE}"
        if path.exists():
            _take(run, path, job, part)
        else:
            before = len(run.failed)
            with (
                growing(path, overwrite=False) as file,
                _writing(file, schema) as writer,
            ):
                _write_rows(writer, run.rows(part))
                content = part.content() | {"failed": run.failed[before:]}
                writer.add_key_value_metadata({CONTENT: json.dumps(content).encode()})
        number += 1
    if len(done) > number:
        raise ValueError(
            f"Expected {output} to hold {number} parts of {run.source} but it holds "
            "more: the source has changed since; pass `restart` to begin anew"
        )
    _write_failed(run, output / FAILED)


@dataclass(frozen=True)
class _Left:
    """The images of a source that are in no part yet."""

    source: Source
    part_images: int
    done: frozenset[int]  # numbers of the parts that are there

    def __iter__(self) -> Iterator[Item]:
        for number, item in enumerate(self.source):
            if number // self.part_images not in self.done:
                yield item


class _Listed:
    """Items of a part, of which it remembers the number, and a sum over their keys."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items, self.count, self.sum = items, 0, hashlib.sha256()

    def __iter__(self) -> Iterator[Item]:
        for item in self.items:
            self.count += 1
            self.sum.update(item.key.encode("utf-8", "surrogateescape") + b"\0")
            yield item

    def content(self) -> dict[str, Any]:
        """What a part's metadata says of it, once all items were read."""
        return {"images": self.count, "keys": self.sum.hexdigest()}


def _take(run: Run, path: Path, job: bytes, part: _Listed) -> None:
    """Count a part that an earlier run wrote.

    Raises:
        ValueError: It is damaged or of another job, or the source has changed since.
    """
    with reading_table(path):
        about = pq.read_metadata(path)
    metadata = about.metadata or {}
    model = metadata.get(SHA256.encode()) == run.session.metadata[SHA256].encode()
    if not model or metadata.get(JOB) != job:
        other = "source or option" if model else "model"
        raise ValueError(
            f"Expected {path} to be a part of this job but it is of another {other}; "
            "name another folder, or pass `restart` to begin anew"
        )
    held, failed = _held(path, metadata.get(CONTENT, b""), about.num_rows)
    for _ in part:
        pass
    if held != part.content():
        raise ValueError(
            f"Expected {path} to hold the images of {run.source} but they have changed "
            "since; pass `restart` to begin anew"
        )
    run.failed += failed
    rows = held["images"] - len(failed)
    run.embedded += rows
    run.resumed += rows
    run.progress.update(held["images"])


def _held(
    path: Path, content: bytes, rows: int
) -> tuple[dict[str, Any], list[Failure]]:
    """What a part says of its images, and which of them could not be read.

    Raises:
        ValueError: It is not what `into_parts` writes, or does not fit the rows.
    """
    try:
        held = json.loads(content)
        failed = [(key, reason) for key, reason in held.pop("failed")]
        if not all(isinstance(text, str) for failure in failed for text in failure):
            raise TypeError("Expected words")
        json.dumps(failed, ensure_ascii=False).encode()  # a table cannot hold all words
        if type(held["images"]) is not int or held["images"] != rows + len(failed):
            raise ValueError(f"Expected {rows} rows and {len(failed)} failures")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected {path} to say which images it holds but it is damaged; remove "
            "it, or pass `restart` to begin anew"
        ) from error
    return held, failed


def _job(run: Run, part_images: int) -> bytes:
    """What must be the same for parts to belong together."""
    name = str(run.source)
    job = {
        # Not where it has a scheme, which is the same from every folder.
        "source": name if ":" in name else str(Path(name).absolute()),
        "columns": [run.source.key, *(column.name for column in run.source.kept)],
        "dtype": str(run.dtype),
        "part_images": part_images,
        "draft": run.draft,
    }
    return json.dumps(job, sort_keys=True).encode()


def _unique(source: Source) -> Iterator[Item]:
    """The items of a source.

    Raises:
        ValueError: Two have the same key.
    """
    if isinstance(source, Folder):  # no folder has two files of one name
        yield from source
        return
    seen: set[int] = set()
    for item in source:
        key = hash(item.key)
        if key in seen:
            raise ValueError(
                f"Expected each image of {source} to have a key of its own but "
                f"{printable(item.key)} comes twice"
            )
        seen.add(key)
        yield item


def _write_failed(run: Run, path: Path) -> None:
    """Write what could not be read, if there is anything."""
    failures = [*run.source.unlisted, *run.failed]
    if not failures:
        path.unlink(missing_ok=True)
        return
    keys, reasons = zip(*failures, strict=True)
    _write(pa.table({run.source.key: keys, "reason": reasons}), path, overwrite=True)


def _write(table: pa.Table, path: Path, *, overwrite: bool) -> None:
    """Write a table that appears whole; a kill leaves nothing of it."""
    with growing(path, overwrite=overwrite) as file:
        pq.write_table(table, file)


def _writing(file: Growing, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a table of vectors, whose rows are to be written."""
    # No number of a vector comes twice: a dictionary of them only takes memory.
    names = [name for name in schema.names if name != "vector"]
    return pq.ParquetWriter(
        file,
        schema,
        use_dictionary=names,
        data_page_size=PAGE_BYTES,
        write_page_checksum=True,  # a changed byte is then noticed by `read_vectors`
    )


def _write_rows(writer: pq.ParquetWriter, batches: Iterable[pa.RecordBatch]) -> None:
    """Write rows as they come, so that not all of them are held."""
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(rows.nbytes for rows in group) >= GROUP_BYTES:
            writer.write_table(pa.Table.from_batches(group))
            group = []
    if group:
        writer.write_table(pa.Table.from_batches(group))
