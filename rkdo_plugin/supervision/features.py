"""Features of the samples in a comparison, and their distances."""

from collections.abc import Callable

from torch import Tensor

from rkdo_plugin.factors import distance_factors
from rkdo_plugin.rowwise import chunks
from rkdo_plugin.supervision import targets_given
from rkdo_plugin.supervision.comparison import Comparison

SquaredDistances = Callable[[slice], Tensor]


def features_of(comparison: Comparison, targets: Tensor | None, what: str) -> Tensor:
    """The targets as finite features (B, F) of the B samples."""
    samples = len(comparison.anchors) // comparison.anchor_views
    return targets_given.features(targets, samples, what)


def feature_distances(
    comparison: Comparison, targets: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Factors of the anchors and of the candidates, with products ||x_i - x_j||^2.

    They are in double precision: of samples that are near to each other and far from
    the mean, nothing else would be left of the distance.
    """
    x = features_of(comparison, targets, "features")
    if x.device.type != "mps":  # which has no float64
        x = x.double()
    return distance_factors(comparison.of_anchors(x), comparison.of_candidates(x))


def squared_distances(
    comparison: Comparison, targets: Tensor | None
) -> SquaredDistances:
    """||x_i - x_j||^2 (R, C) of the rows in a slice."""
    own, others = feature_distances(comparison, targets)
    return lambda rows: products(own[rows], others, comparison).clamp_(min=0)


def products(own: Tensor, others: Tensor, comparison: Comparison) -> Tensor:
    """Products (R, C) of factors (R, E) and (C, E), in the embeddings' precision."""
    return (own @ others.T).to(comparison.anchors.dtype)


def chunks_of(comparison: Comparison) -> list[slice]:
    """Slices of the anchors whose rows are held at once."""
    anchors, candidates = comparison.anchors, comparison.candidates
    return chunks(len(anchors), len(candidates), anchors.device)
