"""Tables of vectors, as `rkdo embed` writes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rkdo_plugin.export import Vectors

ENCODER = {"rkdo.sha256": "a" * 64, "rkdo.channels": "3"}


def names(count: int) -> list[str]:
    return [f"{number:04}.png" for number in range(count)]


def write_vectors(
    path: Path,
    rows: np.ndarray,
    keys: Sequence[str] | None = None,
    key: str = "path",
    metadata: Mapping[str, str] = ENCODER,
) -> Path:
    """A Parquet file of vectors (N, D)."""
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
    keys = names(len(rows)) if keys is None else keys
    table = pa.table({key: pa.array(keys, pa.string()), "vector": column})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def in_memory(
    rows: np.ndarray, name: str = "v", metadata: Mapping[str, str] = ENCODER
) -> Vectors:
    keys = pa.chunked_array([names(len(rows))], pa.string())
    return Vectors(name, keys, rows, metadata)


def random_rows(count: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
