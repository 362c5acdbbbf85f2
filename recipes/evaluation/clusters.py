"""How well clusters agree with classes."""

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix


def agreement(
    labels: np.ndarray[Any, Any], clusters: np.ndarray[Any, Any]
) -> dict[str, float]:
    """How well clusters agree with classes.

    Args:
        labels: Classes (N,).
        clusters: Clusters (N,).

    Returns:
        "accuracy" under the best one-to-one map of clusters to classes (Hungarian
        algorithm), "nmi" and "ari".

    Example:
        >>> agreement(np.array([0, 0, 1, 1]), np.array([5, 5, 3, 5]))["accuracy"]
        0.75
    """
    counts = contingency_matrix(labels, clusters)
    matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
    return {
        "accuracy": float(matched / len(labels)),
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }
