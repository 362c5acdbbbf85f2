"""Linear CKA and orthogonal Procrustes of paired vectors, block by block."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from rkdo_plugin.export.vectors.progress import watched
from rkdo_plugin.export.vectors.read import Vectors, blocks
from rkdo_plugin.export.vectors.search import unit

BLOCK = 8192  # rows in float64 at once
ALIKE = 1e-12  # as unit rows that do not differ, up to rounding
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
Mean = NDArray[np.float64]


def spread(vectors: Vectors, among: NDArray[np.int64]) -> tuple[Mean, float]:
    """The mean of unit rows, and the norm of the product of the centred ones.

    Raises:
        ValueError: All rows are alike.
    """
    square, mean = _product(vectors.rows, vectors.rows, (among, among))
    norm = float(np.linalg.norm(square - len(among) * np.outer(mean, mean)))
    if norm < ALIKE * len(among):
        raise ValueError(
            f"Expected vectors that differ in {vectors.name} but all are alike"
        )
    return mean, norm


def alike(
    a: NDArray[Any],
    b: NDArray[Any],
    pairs: Pairs,
    spreads: tuple[tuple[Mean, float], tuple[Mean, float]],
) -> tuple[float, NDArray[np.float32]]:
    """CKA, and cosines after the orthogonal map, of paired rows."""
    (mean_a, norm_a), (mean_b, norm_b) = spreads
    product, _ = _product(a, b, pairs)
    centred = product - len(pairs[0]) * np.outer(mean_a, mean_b)
    # R depends on A and B by A^T B alone, which is small.
    side = max(product.shape)
    padded = np.zeros((side, side))
    padded[: product.shape[0], : product.shape[1]] = product
    turn, _ = orthogonal_procrustes(np.eye(side), padded)
    turn = turn[: product.shape[0], : product.shape[1]].astype(np.float32)
    cosines = np.empty(len(pairs[0]), np.float32)
    for start, x, y in _paired(a, b, pairs, "cosines"):
        cosines[start : start + len(x)] = ((x @ turn) * y).sum(axis=1)
    return float((centred**2).sum() / (norm_a * norm_b)), cosines


def _product(
    a: NDArray[Any], b: NDArray[Any], pairs: Pairs
) -> tuple[NDArray[np.float64], Mean]:
    """A^T B (D, E) of paired unit rows, and the mean of the first."""
    product, total = np.zeros((a.shape[1], b.shape[1])), np.zeros(a.shape[1])
    for _, x, y in _paired(a, b, pairs, "products"):
        wide = x.astype(np.float64)
        product += wide.T @ y.astype(np.float64)
        total += wide.sum(axis=0)
    return product, total / len(pairs[0])


def _paired(
    a: NDArray[Any], b: NDArray[Any], pairs: Pairs, name: str
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
    """Paired unit rows, a block of them at a time, and the place of the first."""
    both = zip(blocks(a, BLOCK, pairs[0]), blocks(b, BLOCK, pairs[1]), strict=True)
    for (start, x), (_, y) in watched(both, name, -(-len(pairs[0]) // BLOCK)):
        yield start, unit(x), unit(y)
