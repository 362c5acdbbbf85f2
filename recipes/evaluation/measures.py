"""Measures of features beyond classifiers: spectrum, spread, views and retrieval.

Features are read as they come, float32 or float64, and computed with in float64, a
block of rows at a time. Linear CKA, of two encoders, is in
`rkdo_plugin.export.compare_encoders`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import hyp0f1
from scipy.stats import entropy
from sklearn.metrics import label_ranking_average_precision_score

from rkdo_plugin.export.vectors.search import nearest

BLOCK = 512  # rows that meet all others at once: 60,000 others take 246 MB
RANKS = (4, 100)  # first and last rank to which alpha-ReQ's authors fit the power law
NEIGHBORS = 10

Array = NDArray[Any]
Wide = NDArray[np.float64]


def rank_me(features: Array) -> float:
    """How many dimensions features use, weighted by how much.

        RankMe = exp(-sum_k p_k log p_k),   p_k = sigma_k / sum_j sigma_j

    sigma are the singular values of the features, which are not centred. The paper adds
    1e-7 to p_k, so that its logarithm exists; here 0 log 0 is 0.

    Args:
        features: Features (N, D), not all 0.

    Returns:
        From 1 to min(N, D).

    Raises:
        ValueError: They are no matrix of finite numbers.

    Example:
        >>> round(rank_me(np.eye(5)), 4), round(rank_me(np.ones((5, 3))), 4)
        (5.0, 1.0)

    Source: Garrido et al., RankMe: Assessing the Downstream Performance of Pretrained
    Self-Supervised Representations by Their Rank (ICML 2023).
    """
    _check(features)
    return float(np.exp(entropy(_singular_values(features, np.zeros(1)))))


def alpha_req(features: Array) -> float:
    """How fast the variances of features decay, from the largest to the smallest.

        lambda_j ~ j^-alpha

    lambda are the eigenvalues of the covariance in falling order. log lambda_j is
    fitted to log j by least squares, with the weight 1 / j, for j from 4 to 100. The
    paper leaves ranks and weights open; these are of its authors' code.

    Args:
        features: Features (N, D).

    Returns:
        alpha; NaN if fewer than two of these variances differ from 0.

    Raises:
        ValueError: They are no matrix of finite numbers.

    Example:
        >>> spectrum = np.arange(1.0, 65) ** -1.5
        >>> basis = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 65)))[0]
        >>> centred = np.linalg.qr(basis - basis.mean(axis=0))[0][:, :64]
        >>> round(alpha_req(centred * np.sqrt(spectrum)), 4)
        1.5

    Source: Agrawal et al., alpha-ReQ: Assessing Representation Quality in
    Self-Supervised Learning by Measuring Eigenspectrum Decay (NeurIPS 2022).
    """
    _check(features)
    mean = features.mean(axis=0, dtype=np.float64)
    values = _singular_values(features, mean)
    least = values[0] * max(features.shape) * np.finfo(np.float64).eps
    first, last = RANKS
    values = values[values > least][first - 1 : last]
    if len(values) < 2:
        return float("nan")
    ranks = np.arange(first, first + len(values))
    # numpy multiplies the differences by its weights before it squares them.
    slope, _ = np.polyfit(np.log(ranks), 2 * np.log(values), 1, w=ranks**-0.5)
    return float(-slope)


def alignment(first: Array, second: Array) -> float:
    """How far two views of an image lie apart, in the mean over the images.

        alignment = E_i ||f(x_i) - f(y_i)||^2,   all features scaled to norm 1

    Args:
        first: Features (N, D) of one view x of each of N images.
        second: Features (N, D) of the other view y.

    Returns:
        From 0, if both views of every image coincide, to 4.

    Raises:
        ValueError: They are no matrices of finite numbers and of one shape.

    Example:
        >>> alignment(np.eye(3), 2 * np.eye(3)), alignment(np.eye(2), np.eye(2)[::-1])
        (0.0, 2.0)

    Source: Wang and Isola, Understanding Contrastive Representation Learning through
    Alignment and Uniformity on the Hypersphere (ICML 2020), alpha = 2.
    """
    _check(first)
    _check(second)
    if first.shape != second.shape:
        raise ValueError(
            f"Expected `second` to be of shape {first.shape}, as `first`, but got "
            f"{second.shape}"
        )
    pairs = zip(_blocks(first), _blocks(second), strict=True)
    return sum(float(((_unit(x) - _unit(y)) ** 2).sum()) for x, y in pairs) / len(first)


def uniformity(features: Array) -> float:
    """How evenly features are spread over the sphere.

        uniformity = log E_{i != j} exp(-2 ||f_i - f_j||^2),   all scaled to norm 1

    Args:
        features: Features (N, D), N at least 2.

    Returns:
        0 if all are alike. `even_uniformity` is its value for an even spread.

    Raises:
        ValueError: They are no matrix of finite numbers, or one row.

    Example:
        >>> uniformity(np.ones((5, 3))), round(uniformity(np.array([[1.0], [-1.0]])), 4)
        (0.0, -8.0)

    Source: as of `alignment`, t = 2.
    """
    _check(features, rows=2)
    rows = _unit(features)
    squares = (rows**2).sum(axis=1)  # 1, but for features that are all 0
    total = -float(len(rows))  # an image's distance to itself
    for block, own in zip(_blocks(rows), _blocks(squares), strict=True):
        distances = own[:, None] + squares - 2 * block @ rows.T
        total += float(np.exp(-2 * np.maximum(distances, 0)).sum())
    return float(np.log(total / (len(rows) * (len(rows) - 1))))


def even_uniformity(dim: int) -> float:
    """The uniformity of very many features that lie evenly on the sphere.

        log E exp(-2 ||x - y||^2) = log 0F1(D / 2; 4) - 4

    Args:
        dim: D.

    Example:
        >>> round(even_uniformity(2), 4), round(even_uniformity(512), 4)
        (-1.575, -3.9844)
    """
    return float(np.log(hyp0f1(dim / 2, 4)) - 4)


def mean_average_precision(
    queries: Array, query_labels: Array, gallery: Array, labels: Array
) -> float:
    """How early a search by cosine finds all images of the query's class.

        AP = 1/R sum_{r relevant} (relevant ones not farther than r) / (all not farther)

    Args:
        queries: Features (Q, D).
        query_labels: Their classes (Q,).
        gallery: Features (N, D) that are searched; none of them is a query.
        labels: Their classes (N,).

    Returns:
        The mean of AP over the queries whose class is in the gallery, in (0, 1].

    Raises:
        ValueError: Features are no matrices of finite numbers, or no query's class is
            in the gallery.

    Example:
        >>> gallery = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> round(mean_average_precision(gallery[:1], [0], gallery, [0, 1, 0]), 4)
        0.8333
    """
    _check(queries)
    _check(gallery)
    query_labels, labels = np.asarray(query_labels), np.asarray(labels)
    known = np.isin(query_labels, labels)
    if not known.any():
        raise ValueError("Expected queries of classes in the gallery but got none")
    searched, total = _unit(gallery).T, 0.0
    asked = zip(_blocks(queries[known]), _blocks(query_labels[known]), strict=True)
    for block, wanted in asked:
        same = wanted[:, None] == labels
        cosines = _unit(block) @ searched
        total += len(block) * label_ranking_average_precision_score(same, cosines)
    return float(total / known.sum())


def neighbourhood_accuracy(
    features: Array, labels: Array, count: int = NEIGHBORS
) -> float:
    """Share of an image's nearest others, by cosine, that are of its class.

        1/(N k) sum_i sum_{j among the k nearest of i, without i} [y_j = y_i]

    Args:
        features: Features (N, D).
        labels: Their classes (N,).
        count: k, less than N.

    Returns:
        In [0, 1].

    Raises:
        ValueError: The features are no matrix of finite numbers, or `count` is out of
            range.

    Example:
        >>> features = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
        >>> neighbourhood_accuracy(features, np.array([0, 0, 1, 0]), count=1)
        0.5
    """
    _check(features)
    if not 1 <= count < len(features):
        raise ValueError(
            f"Expected `count` to be from 1 to {len(features) - 1}, the number of "
            f"other images, but got {count}"
        )
    labels = np.asarray(labels)
    same = 0
    for start in range(0, len(features), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(features)))
        _, found = nearest(features[rows], features, count, without=rows)
        same += int((labels[found] == labels[rows, None]).sum())
    return same / (len(features) * count)


def _check(features: Array, rows: int = 1) -> None:
    if features.ndim != 2 or len(features) < rows:
        raise ValueError(
            f"Expected features (N, D), N at least {rows}, but got shape "
            f"{features.shape}"
        )
    if not all(np.isfinite(block).all() for block in _blocks(features)):
        raise ValueError("Expected finite features but some are not")


def _blocks(rows: Array, size: int | None = None) -> Iterator[Array]:
    size = size or BLOCK
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _unit(rows: Array) -> Wide:
    """Rows of norm 1; zeros stay zeros."""
    wide = rows.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    wide /= np.where(norms == 0, 1, norms)
    return wide


def _singular_values(features: Array, mean: Wide) -> Wide:
    """Of the features without their mean, in falling order.

    They are those of the triangle R of a QR decomposition, which is small and is
    brought up to date by one block of rows after the other.
    """
    dim = features.shape[1]
    triangle: Any = np.empty((0, dim))
    for block in _blocks(features, max(BLOCK, 2 * dim)):
        triangle = np.linalg.qr(np.vstack([triangle, block - mean]), mode="r")
    values: Wide = np.linalg.svd(triangle, compute_uv=False)
    return values
