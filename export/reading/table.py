"""Parquet files with a column of paths or of bytes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.reading.files import File, beside, existing, open_file
from rkdo_plugin.export.reading.item import Item
from rkdo_plugin.export.reading.source import Listed

ROWS = 64  # of a table that are in memory at once: photographs are megabytes
PAGE_BYTES = 2**20  # of a column that are read at once
IMAGE_COLUMNS = ("image", "path", "jpg")  # looked for where none is named


class Table(Listed):
    """A Parquet file with a column of paths or of bytes.

    Paths are relative to the file's folder, and are the keys. Bytes are those of whole
    files, alone or as `{"bytes": ..., "path": ...}`, which is how Hugging Face's data
    sets hold images. Their key is the column `path`, if there is one, or else the row's
    number.

    Raises:
        ValueError: The file is no table, or has no such columns.
    """

    def __init__(self, file: File, column: str | None, keep: tuple[str, ...]) -> None:
        super().__init__()
        self.file = existing(file)
        with open_file(file) as content, reading_table(file):
            schema = pq.read_schema(content)
        known = [name for name in IMAGE_COLUMNS if name in schema.names]
        self.column = column if column is not None else (known or [""])[0]
        wanted = [self.column, *keep]
        lacking = [name for name in wanted if schema.get_field_index(name) < 0]
        if lacking:
            raise ValueError(
                f"Expected {file} to have the columns {listed(wanted)} but it has "
                f"{listed(schema.names)}"
            )
        kind = schema.field(self.column).type
        self.holds_paths = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        bytes_of = kind
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            bytes_of = kind.field("bytes").type
        if not (
            self.holds_paths
            or pa.types.is_binary(bytes_of)
            or pa.types.is_large_binary(bytes_of)
        ):
            raise ValueError(
                f"Expected the column {self.column} of {file} to hold paths or bytes "
                f"but got {kind}"
            )
        self.kept = [schema.field(name) for name in keep]
        self._keyed = not self.holds_paths and "path" in schema.names
        if self.holds_paths or self._keyed:
            self.key = "path"
        else:
            self.key = "row"

    def __str__(self) -> str:
        return str(self.file)

    def __iter__(self) -> Iterator[Item]:
        keep = [field.name for field in self.kept]
        columns = [self.column, *keep, *(["path"] if self._keyed else [])]
        row = 0
        # With a buffer of its own, a page is read at a time, and not a row group.
        streamed = {"pre_buffer": False, "buffer_size": PAGE_BYTES}
        with (
            open_file(self.file) as content,
            reading_table(self.file),
            pq.ParquetFile(content, **streamed) as table,
        ):
            for batch in table.iter_batches(ROWS, columns=list(dict.fromkeys(columns))):
                for value in batch.to_pylist():
                    image = value[self.column]
                    if isinstance(image, dict):
                        image = image["bytes"]
                    key = value["path"] if self._keyed else str(row)
                    place = image or b""
                    if self.holds_paths:
                        key, place = image or "", beside(self.file, image or "")
                    yield Item(key, place, tuple(value[name] for name in keep))
                    row += 1

    def count(self) -> int:
        """The number of rows."""
        with open_file(self.file) as content, reading_table(self.file):
            return int(pq.read_metadata(content).num_rows)


@contextmanager
def reading_table(path: object) -> Iterator[None]:
    """Name the table in errors about damage, which Arrow tells in many ways.

    Raises:
        ValueError: The block could not read the table.
    """
    try:
        yield
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # not the table's fault
        raise ValueError(f"Expected {path} to be a table but got: {error}") from error
