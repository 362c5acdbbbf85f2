"""How far two sets of embeddings of the same images lie apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.neighbors import NearestNeighbors

NEIGHBORS = 10
WORST = 5  # images that a report shows

Embeddings = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Distances:
    """Figures of a comparison; not a number where they cannot be.

    Attributes:
        max_abs: Largest |difference| of a component.
        one_minus_cosine: 1 - cosine of each image's two embeddings (N,).
        max_norm_error: Largest |norm - 1|, on either side.
        finite: Whether every component is finite, on both sides.
    """

    max_abs: float
    one_minus_cosine: Embeddings
    max_norm_error: float
    finite: bool


def distances(reference: Embeddings, exported: Embeddings) -> Distances:
    """Compare embeddings (N, D) with those of a reference."""
    norms = [np.linalg.norm(side, axis=1) for side in (reference, exported)]
    # A zero embedding has no direction: it counts as orthogonal, and fails.
    product = np.maximum(norms[0] * norms[1], np.finfo(np.float64).tiny)
    cosine = (reference * exported).sum(axis=1) / product
    return Distances(
        max_abs=float(np.abs(reference - exported).max()),
        one_minus_cosine=1 - cosine,
        max_norm_error=float(np.abs(np.concatenate(norms) - 1).max()),
        finite=bool(np.isfinite(reference).all() and np.isfinite(exported).all()),
    )


@dataclass(frozen=True)
class Neighborhoods:
    """What becomes of nearest neighbours; not a number where they cannot be.

    Attributes:
        kept: Mean share of an image's ten nearest neighbours that stay.
        knn: Accuracy of the vote of the ten, each image left out in turn: of the
            reference, and of the exported file.
    """

    kept: float = float("nan")
    knn: tuple[float, float] = (float("nan"), float("nan"))


def neighborhoods(
    reference: Embeddings, exported: Embeddings, labels: Labels | None
) -> Neighborhoods:
    """Compare the neighbours of images among each other, by cosine similarity.

    Args:
        reference: Embeddings (N, D), finite.
        exported: Embeddings (N, D) of the same images, finite.
        labels: Classes (N,), where there are any.

    Returns:
        The figures; twenty images are the fewest that give any.
    """
    if len(reference) < 2 * NEIGHBORS:
        return Neighborhoods()
    search = NearestNeighbors(n_neighbors=NEIGHBORS, metric="cosine", algorithm="brute")
    nearest = [
        search.fit(side).kneighbors(return_distance=False)
        for side in (reference, exported)
    ]
    same = (nearest[0][:, :, None] == nearest[1][:, None, :]).any(axis=2)
    if labels is None:
        return Neighborhoods(float(same.mean()))
    accuracies = [
        float((stats.mode(labels[rows], axis=1).mode == labels).mean())
        for rows in nearest
    ]
    return Neighborhoods(float(same.mean()), (accuracies[0], accuracies[1]))
