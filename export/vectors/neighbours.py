"""The images whose vectors are nearest to those of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.export.file.metadata import SHA256
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.vectors.read import Vectors, read_vectors
from rkdo_plugin.export.vectors.search import nearest
from rkdo_plugin.export.vectors.tiles import Row, Sheet, Tile


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The result of `neighbours`.

    Attributes:
        vectors: Where they were looked for.
        queries: A string is a key, a path is a file.
        keys: Of each query's neighbours, the nearest first.
        cosines: Their similarities, float32 (Q, count).
    """

    vectors: Vectors
    queries: tuple[str | Path, ...]
    keys: tuple[tuple[str, ...], ...]
    cosines: NDArray[np.float32]

    def __str__(self) -> str:
        lines = [self.sheet.title]
        for row in self.sheet.rows:
            lines.append(row.title)
            lines += [
                f"{place:5}  {tile.caption:>7}  {tile.key}"
                for place, tile in enumerate(row.others, start=1)
            ]
        return "\n".join(lines)

    @property
    def sheet(self) -> Sheet:
        """Each query beside its neighbours."""
        rows = []
        for query, keys, cosines in zip(
            self.queries, self.keys, self.cosines, strict=True
        ):
            tiles = [
                Tile(key, f"{cosine:.4f}")
                for key, cosine in zip(keys, cosines, strict=True)
            ]
            file = query if isinstance(query, Path) else None
            rows.append(Row(str(query), Tile(str(query), "", file), tuple(tiles)))
        title = (
            f"nearest of {len(self.vectors):,} vectors in {self.vectors.name}, "
            "by cosine"
        )
        return Sheet(title, tuple(rows), self.vectors.channels)


def neighbours(
    vectors: Vectors | str | Path,
    queries: Sequence[str | Path],
    *,
    model: EmbeddingSession | str | Path | None = None,
    count: int = 8,
) -> Neighbours:
    """Find the images whose vectors are nearest to those of others, by cosine.

    Args:
        vectors: What `read_vectors` returned, or its path.
        queries: Keys of the vectors, or image files. A key is no neighbour of itself.
        model: For files: the encoder that the vectors are of.
        count: Number of neighbours of each query.

    Returns:
        The neighbours of each query, the nearest first.

    Raises:
        OSError: There are no such vectors, or a file cannot be read.
        ValueError: `read_vectors` refuses the vectors; a query is neither a key nor a
            file; a file is asked for without a model, or with one that the vectors are
            not of; or `count` is out of range.

    Example:
        >>> print(neighbours("vectors.parquet", ["cat.jpg"]))  # doctest: +SKIP
        nearest of 50,000 vectors in vectors.parquet, by cosine
        cat.jpg
            1   0.9120  tiger.jpg
    """
    vectors = read_vectors(vectors)
    if not queries:
        raise ValueError("Expected at least one key or image file but got none")
    rows = vectors.find([str(query) for query in queries])
    highest = len(vectors) - int((rows >= 0).any())
    if not 1 <= count <= highest:
        raise ValueError(
            f"Expected `count` to be from 1 to {highest}, the number of other vectors "
            f"in {vectors.name}, but got {count}"
        )
    named = tuple(
        str(query) if row >= 0 else Path(query)
        for query, row in zip(queries, rows, strict=True)
    )
    looked_up = vectors.rows[rows].astype(np.float32)
    files = [query for query in named if isinstance(query, Path)]
    if files:
        looked_up[rows < 0] = _embedded(vectors, files, model)
    cosines, found = nearest(looked_up, vectors.rows, count, without=rows)
    keys = tuple(tuple(vectors.keys.take(each).to_pylist()) for each in found)
    return Neighbours(vectors, named, keys, cosines)


def _embedded(
    vectors: Vectors, files: list[Path], model: EmbeddingSession | str | Path | None
) -> NDArray[np.float32]:
    """The vectors of image files.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is missing, or the model is, or it is another one.
    """
    for file in files:
        if not file.exists():
            raise ValueError(
                f"Expected a key of {vectors.name} or an image file but got "
                f"{file}{vectors.similar(str(file))}"
            )
    if model is None:
        raise ValueError(
            f"Expected `model`, the encoder of {vectors.name}, to embed {files[0]}, "
            "which is a file and no key"
        )
    if not isinstance(model, EmbeddingSession):
        model = EmbeddingSession(model, "cpu")
    _require_encoder(vectors, model.name, model.metadata[SHA256])
    embedded = np.empty((len(files), vectors.dim), np.float32)
    for row, (file, found) in enumerate(model.embed_files(files)):
        if isinstance(found, OSError):
            raise OSError(f"Expected an image at {file} but got: {found}")
        embedded[row] = found
    return embedded


def _require_encoder(vectors: Vectors, model: str, sha256: str) -> None:
    if vectors.encoder != sha256:
        raise ValueError(
            f"Expected the encoder of {vectors.name}, whose {SHA256} is "
            f"{vectors.encoder or 'not in its metadata'}, but that of {model} is "
            f"{sha256}"
        )
