"""Nearest vectors by cosine, without a second copy of all of them."""

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.export.vectors.progress import watched
from rkdo_plugin.export.vectors.read import BLOCK, blocks

Found = tuple[NDArray[np.float32], NDArray[np.int64]]


def nearest(
    queries: NDArray[Any],
    rows: NDArray[Any],
    count: int,
    without: NDArray[np.int64] | None = None,
    among: NDArray[np.int64] | None = None,
) -> Found:
    """The rows that are nearest to each query.

    With faiss, if it is installed, and with scikit-learn otherwise. Both compare every
    pair, so that they find the same rows.

    Args:
        queries: Q vectors (Q, D) of any length. A vector of zeros is as far from all.
        rows: N vectors (N, D); 65,536 of them at a time are copied.
        count: Number of neighbours, at most N, or N - 1 with `without`.
        without: For each query the row that is no neighbour of it, because it is the
            query itself; -1 for none. (Q,)
        among: Search these M rows alone. Places among them then stand for the rows.

    Returns:
        Cosines, float32 (Q, count), from the largest to the smallest, and the rows.
    """
    wanted = count if without is None else count + 1
    search = _of_faiss if find_spec("faiss") else _of_sklearn
    queries = unit(queries)
    cosines = np.empty((len(queries), 0), np.float32)
    found = np.empty((len(queries), 0), np.int64)
    steps = -(-len(rows if among is None else among) // BLOCK)
    for start, block in watched(blocks(rows, among=among), "search", steps):
        more, places = search(queries, unit(block), min(wanted, len(block)))
        cosines, found = np.hstack([cosines, more]), np.hstack([found, places + start])
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :wanted]
        cosines = np.take_along_axis(cosines, order, axis=1)
        found = np.take_along_axis(found, order, axis=1)
    if without is None:
        return cosines, found
    last = np.argsort(found == without[:, None], axis=1, kind="stable")[:, :count]
    return np.take_along_axis(cosines, last, 1), np.take_along_axis(found, last, 1)


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Vectors of norm 1, float32, one after the other in memory; zeros stay zeros."""
    wide = np.array(vectors, np.float32, order="C")
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    wide /= np.where(norms == 0, 1, norms)
    return wide


def _of_faiss(
    queries: NDArray[np.float32], rows: NDArray[np.float32], count: int
) -> Found:
    import faiss

    cosines, found = faiss.knn(queries, rows, count, metric=faiss.METRIC_INNER_PRODUCT)
    return cosines, found


def _of_sklearn(
    queries: NDArray[np.float32], rows: NDArray[np.float32], count: int
) -> Found:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=count, algorithm="brute", metric="cosine")
    distances, found = search.fit(rows).kneighbors(queries)
    return (1 - distances).astype(np.float32), found
