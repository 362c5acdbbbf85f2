"""p by nearest neighbours, and by the similarity of metadata."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rkdo_plugin.options import check_count, check_temperature
from rkdo_plugin.supervision.comparison import Comparison
from rkdo_plugin.supervision.features import features_of, squared_distances
from rkdo_plugin.supervision.target import Target


@dataclass(frozen=True)
class Neighbors:
    """p = 1/k on each of the k nearest candidates, by `targets`: features (B, F).

    The anchor is not its own neighbour. Its other view is its nearest, since their
    features are the same.

    Attributes:
        k: Number of neighbours.
    """

    k: int = 5

    def __post_init__(self) -> None:
        check_count("k", self.k)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        others = len(comparison.candidates) - (comparison.itself is not None)
        if self.k > others:
            raise ValueError(
                f"Expected at least `k` = {self.k} candidates but got {others}"
            )
        squares = squared_distances(comparison, targets)

        def rows(rows: slice) -> Tensor:
            distances = squares(rows)
            if comparison.itself is not None:
                distances.scatter_(1, comparison.itself[rows], torch.inf)
            nearest = distances.topk(self.k, dim=1, largest=False, sorted=False).indices
            p = torch.zeros_like(distances, dtype=comparison.anchors.dtype)
            return p.scatter_(1, nearest, 1 / self.k)

        return Target(rows)


@dataclass(frozen=True)
class Similarity:
    """p proportional to exp(g_i . g_j / tau), as in X-Sample; `targets` are g (B, F).

    Attributes:
        temperature: tau of the supervision.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        g = features_of(comparison, targets, "metadata")
        own, others = comparison.of_anchors(g), comparison.of_candidates(g)

        def rows(rows: slice) -> Tensor:
            logits = (own[rows] @ others.T).mul_(1 / self.temperature)
            comparison.exclude(logits, rows)
            return torch.softmax(logits, dim=1).to(comparison.anchors)

        return Target(rows)
