"""Measure how far two embeddings of the same images differ."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.neighbors import NearestNeighbors

NEIGHBORS = 10
NAN = float("nan")

Embeddings = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Distances:
    """Differences of two sets of embeddings.

    Figures are NaN or infinite if a component of an embedding is not finite.

    Attributes:
        max_abs: Largest |difference| of a component.
        one_minus_cosine: 1 - cosine of the two embeddings of each image (N,).
        max_norm_error: Largest |norm - 1| of an embedding of either side.
        finite: Whether every component of both sides is finite.
    """

    max_abs: float
    one_minus_cosine: Embeddings
    max_norm_error: float
    finite: bool


def distances(reference: Embeddings, exported: Embeddings) -> Distances:
    """Measure how far embeddings differ from those of a reference.

    Args:
        reference: Embeddings of the reference (N, D).
        exported: Embeddings of the same images (N, D).
    """
    norms = [np.linalg.norm(side, axis=1) for side in (reference, exported)]
    # A zero embedding has no direction. It counts as orthogonal, which fails the gate.
    product = np.maximum(norms[0] * norms[1], np.finfo(np.float64).tiny)
    cosine = (reference * exported).sum(axis=1) / product
    return Distances(
        max_abs=float(np.abs(reference - exported).max()),
        one_minus_cosine=1 - cosine,
        max_norm_error=float(np.abs(np.concatenate(norms) - 1).max()),
        finite=bool(np.isfinite(reference).all() and np.isfinite(exported).all()),
    )


@dataclass(frozen=True)
class NeighborAgreement:
    """How far the nearest neighbours of two sets of embeddings agree.

    Figures that were not measured are NaN.

    Attributes:
        kept: Share of the ten nearest neighbours that are the same on both sides, the
            mean over the images.
        knn: Accuracy of the majority vote of an image's ten nearest neighbours, on
            either side: the reference's and the exported file's. Each image is left out
            of its own vote. `rkdo evaluate` measures another accuracy: 20 neighbours
            from the training images vote on test images, weighted by similarity.
    """

    kept: float = NAN
    knn: tuple[float, float] = (NAN, NAN)


def neighbor_agreement(
    reference: Embeddings, exported: Embeddings, labels: Labels | None
) -> NeighborAgreement:
    """Compare the nearest neighbours of images among each other, by cosine similarity.

    Args:
        reference: Embeddings of the reference (N, D), finite.
        exported: Embeddings of the same images (N, D), finite.
        labels: Classes (N,). None: there are none, and `knn` is not measured.

    Returns:
        The figures. Below twenty images nothing is measured.
    """
    if len(reference) < 2 * NEIGHBORS:
        return NeighborAgreement()
    search = NearestNeighbors(n_neighbors=NEIGHBORS, metric="cosine", algorithm="brute")
    nearest = [
        search.fit(side).kneighbors(return_distance=False)
        for side in (reference, exported)
    ]
    same = (nearest[0][:, :, None] == nearest[1][:, None, :]).any(axis=2)
    kept = float(same.mean())
    if labels is None:
        return NeighborAgreement(kept)
    before, after = (
        float((stats.mode(labels[rows], axis=1).mode == labels).mean())
        for rows in nearest
    )
    return NeighborAgreement(kept, (before, after))
