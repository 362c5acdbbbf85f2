"""Read the vectors that `rkdo embed` wrote, and find rows by their keys."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rkdo_plugin.export.encoder.arrays import array_form
from rkdo_plugin.export.encoder.pictures import READ_ERRORS, listed
from rkdo_plugin.export.file.metadata import PREFIX, SHA256, count_of
from rkdo_plugin.export.reading.table import reading_table
from rkdo_plugin.export.serving.arrays import PATHS, VECTORS
from rkdo_plugin.export.serving.parts import PART
from rkdo_plugin.plugins.names import did_you_mean

KEYS = ("path", "key", "row")  # the columns of keys that `rkdo embed` writes
VECTOR = "vector"
BLOCK = 65_536  # rows that are looked at, or copied, at once
LOOKED_AT = 10_000  # keys that a mistyped one is compared with


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors of images, in memory.

    Attributes:
        name: Where they were read from.
        keys: Key of each row, strings; none comes twice.
        rows: The vectors, float16 or float32 (N, D), as they were stored.
        metadata: That of the encoder. Its keys start with `rkdo.`.
    """

    name: str
    keys: pa.ChunkedArray
    rows: NDArray[Any]
    metadata: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """D, the number of components of a vector."""
        return int(self.rows.shape[1])

    @property
    def encoder(self) -> str | None:
        """The encoder's SHA-256; None where the metadata was lost."""
        return self.metadata.get(SHA256)

    @property
    def channels(self) -> int:
        """Of the encoder's images; 3 where the metadata was lost."""
        known = PREFIX + "channels" in self.metadata
        return count_of(self.metadata, "channels", self.name) if known else 3

    def key(self, row: int) -> str:
        """The key of a row."""
        return str(self.keys[row].as_py())

    def find(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """The rows of keys (M,); -1 for a key that is not there."""
        return rows_of(pa.array(keys, pa.string()), self.keys)

    def similar(self, key: str) -> str:
        """A hint at a key that is like one that is not there, or nothing."""
        lengths = pc.utf8_length(self.keys)
        near = pc.less_equal(pc.abs(pc.subtract(lengths, len(key))), 2)
        return did_you_mean(key, self.keys.filter(near)[:LOOKED_AT].to_pylist())


def read_vectors(path: Vectors | str | Path) -> Vectors:
    """Read the vectors that `rkdo embed` wrote.

    Args:
        path: The Parquet file, or the folder of parts or of arrays. The columns are
            `path`, `key` or `row`, and `vector`; others are not read. Vectors are
            returned as they are.

    Returns:
        The vectors, N x D numbers of the stored type: in memory, but for arrays, which
        are mapped into it.

    Raises:
        FileNotFoundError: There is no such file, or no part in the folder.
        ValueError: A file is no table of vectors, or has vectors of another length or
            encoder than the first; there are no rows; a key comes twice; or a number is
            not finite.

    Example:
        >>> read_vectors("vectors.parquet").rows.shape  # doctest: +SKIP
        (50000, 512)
    """
    if isinstance(path, Vectors):
        return path
    path = Path(path)
    if (path / VECTORS).is_file():
        return _of_arrays(path)
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if PART.fullmatch(file.name))
    if not files or not path.exists():
        raise FileNotFoundError(
            f"Expected vectors of rkdo embed at {path}, a .parquet file or a folder of "
            f"parts, but found {'no part-00000.parquet' if path.exists() else 'none'}"
        )
    with reading_table(path):
        keys, rows, metadata = _of_tables(path, files)
    require_vectors(path, keys, rows)
    return Vectors(str(path), keys, rows, metadata)


def rows_of(
    keys: pa.Array | pa.ChunkedArray, known: pa.ChunkedArray
) -> NDArray[np.int64]:
    """The places of keys (M,) among the known ones; -1 for a key that is not there."""
    found = pc.index_in(keys, known)
    return np.asarray(pc.fill_null(found, -1)).astype(np.int64)


def require_vectors(path: Path, keys: pa.ChunkedArray, rows: NDArray[Any]) -> None:
    """Check keys and vectors.

    Raises:
        ValueError: There are none, a key is missing or comes twice, or a number is not
            finite.
    """
    if len(rows) == 0:
        raise ValueError(f"Expected vectors in {path} but it has no rows")
    if rows.shape[1] == 0:
        raise ValueError(f"Expected numbers in the vectors of {path} but got none")
    if keys.null_count:
        raise ValueError(
            f"Expected a key for each vector of {path} but {keys.null_count} have none"
        )
    try:
        keys.validate(full=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"Expected keys in UTF-8 in {path} but {error}") from error
    counts = pc.value_counts(keys.combine_chunks())
    twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise ValueError(
            f"Expected {path} to have each key once but it repeats "
            f"{listed(twice.to_pylist())}"
        )
    for start, block in blocks(rows):
        whole = np.isfinite(block).all(axis=1)
        if not whole.all():
            row = start + int(whole.argmin())
            raise ValueError(
                f"Expected finite numbers in {path} but the vector of {keys[row]} is "
                "not"
            )


def blocks(
    rows: NDArray[Any], size: int = BLOCK, among: NDArray[np.int64] | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Parts of rows, or of those `among` them, each with the number of its first."""
    for start in range(0, len(rows if among is None else among), size):
        part = slice(start, start + size)
        yield start, rows[part] if among is None else rows[among[part]]


def _of_arrays(path: Path) -> Vectors:
    """The vectors of a folder in the form npy."""
    try:
        with (path / VECTORS).open("rb") as file:
            array_form(file)
        rows = np.load(path / VECTORS, mmap_mode="r", allow_pickle=False)
        table = pq.read_table(path / PATHS, page_checksum_verification=True)
        names = table.column_names
        name = next((name for name in KEYS if name in names), None)
        keys = None if name is None else table[name].cast(pa.string())
    except (pa.ArrowException, *READ_ERRORS) as error:
        raise ValueError(
            f"Expected {VECTORS} and {PATHS} in {path} but got: {error}"
        ) from error
    if rows.ndim != 2 or keys is None or len(table) != len(rows):
        raise ValueError(
            f"Expected {VECTORS} (N, D) in {path}, and a key for each row in {PATHS}, "
            f"but got {rows.shape} and {len(table)} rows of "
            f"{listed(names)}"
        )
    if rows.dtype.kind != "f":
        raise ValueError(
            f"Expected {VECTORS} in {path} to hold vectors of floats but got "
            f"{rows.shape} of {rows.dtype}"
        )
    require_vectors(path, keys, rows)
    return Vectors(str(path), keys, rows, encoder_metadata(table.schema))


def _of_tables(
    path: Path, files: Sequence[Path]
) -> tuple[pa.ChunkedArray, NDArray[Any], dict[str, str]]:
    """Keys, vectors and metadata of Parquet files, one after the other."""
    name, dim, kind, metadata = _contents(files[0])
    counts = [pq.read_metadata(file).num_rows for file in files]
    number = sum(counts)
    if min(counts) < 0:
        raise ValueError(f"Expected rows in {path} but it tells of {min(counts)}")
    rows = np.empty((number, dim), np.float16 if kind == pa.float16() else np.float32)
    keys: list[pa.Array] = []
    filled = end = 0
    for told, file in zip(np.cumsum(counts), files, strict=True):
        found = _contents(file)
        if (found[0], found[1], found[3].get(SHA256)) != (
            name,
            dim,
            metadata.get(SHA256),
        ):
            raise ValueError(
                f"Expected all parts of {path} to have the columns and the encoder of "
                f"{files[0].name} but {file.name} has others"
            )
        with pq.ParquetFile(file, page_checksum_verification=True) as table:
            for batch in table.iter_batches(8192, columns=[name, VECTOR]):
                numbers = batch[VECTOR].flatten()
                lengths = pc.fill_null(pc.list_value_length(batch[VECTOR]), -1)
                if numbers.null_count or pc.any(pc.not_equal(lengths, dim)).as_py():
                    raise ValueError(
                        f"Expected {dim} numbers in each vector of {file} but some "
                        "have fewer or more"
                    )
                end = filled + len(batch)
                if end > told:
                    break
                rows[filled:end] = np.asarray(numbers).reshape(-1, dim)
                keys.append(batch[name].cast(pa.string()))
                filled = end
        if end != told:
            raise ValueError(
                f"Expected as many rows in {file} as its end tells of but got "
                f"{'more' if end > told else 'fewer'}"
            )
    return pa.chunked_array(keys, pa.string()), rows, metadata


def _contents(file: Path) -> tuple[str, int, pa.DataType, dict[str, str]]:
    """The column of keys, D, the type of the numbers and the metadata of a table."""
    with reading_table(file):
        schema = pq.read_schema(file)
    key = next((name for name in KEYS if name in schema.names), None)
    if key is None or VECTOR not in schema.names:
        raise ValueError(
            f"Expected {file} to have the columns {' or '.join(KEYS)}, and {VECTOR}, "
            f"which rkdo embed writes, but it has {listed(schema.names)}"
        )
    kind = schema.field(VECTOR).type
    fixed = pa.types.is_fixed_size_list(kind)
    if not (
        (fixed or pa.types.is_list(kind)) and pa.types.is_floating(kind.value_type)
    ):
        raise ValueError(
            f"Expected the column {VECTOR} of {file} to hold lists of floats but got "
            f"{kind}"
        )
    dim = kind.list_size if fixed else _first_length(file)
    return key, dim, kind.value_type, encoder_metadata(schema)


def encoder_metadata(schema: pa.Schema) -> dict[str, str]:
    """What a table says of the encoder."""
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (schema.metadata or {}).items()
        if key.startswith(PREFIX.encode())
    }


def _first_length(file: Path) -> int:
    """Length of the first vector: other programs keep no size in a list's type."""
    with pq.ParquetFile(file) as table:
        first = next(table.iter_batches(1, columns=[VECTOR]), None)
    return 0 if first is None else len(first[VECTOR][0].as_py() or ())
