"""p by Gaussians of the distance: of one bandwidth, or of one perplexity."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from rkdo_plugin.options import check_count, check_positive
from rkdo_plugin.supervision.comparison import Comparison
from rkdo_plugin.supervision.features import (
    chunks_of,
    feature_distances,
    features_of,
    products,
)
from rkdo_plugin.supervision.perplexity import precision_of_perplexity
from rkdo_plugin.supervision.target import Target, mean_one


@dataclass(frozen=True)
class GaussianAffinity:
    """p proportional to exp(-||x_i - x_j||^2 / (2 sigma^2)); `targets` are x (B, F).

    Attributes:
        bandwidth: sigma, in the unit of the distances.
        degrees: Weight anchors and candidates by their degrees, the sums over j of
            exp(-||x_i - x_j||^2 / (2 sigma^2)), as normalised cuts do.
    """

    bandwidth: float = 1.0
    degrees: bool = False

    def __post_init__(self) -> None:
        check_positive("bandwidth", self.bandwidth)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        own, others = feature_distances(comparison, targets)
        precision = own.new_full((len(own),), 0.5 / self.bandwidth**2)
        rows = _GaussianRows(comparison, own, others, precision)
        if not self.degrees:
            return rows.target()
        log_degree = rows.log_sums()
        # The candidates are the anchors, of all processes.
        largest = comparison.of_all(log_degree).max()
        weight = (log_degree - largest).exp().to(comparison.anchors)
        degree = mean_one(comparison, weight)
        of_samples = degree[: len(degree) // comparison.anchor_views]  # in any view
        return replace(
            rows.target(),
            weight=degree,
            candidate_weight=comparison.of_candidates(of_samples),
        )


@dataclass(frozen=True)
class Perplexity:
    """Gaussian whose sigma_i gives each row a perplexity; `targets` are x (B, F).

    p(j|i) is proportional to exp(-||x_i - x_j||^2 / (2 sigma_i^2)), where
    exp(-sum_j p(j|i) log p(j|i)) = perplexity.

    Attributes:
        perplexity: Effective number of neighbours, above 1 and below the number of
            candidates.
    """

    perplexity: float = 30.0

    def __post_init__(self) -> None:
        check_positive("perplexity", self.perplexity)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        count = len(comparison.candidates) - comparison.excludes_itself
        if not 1 < self.perplexity < count:
            raise ValueError(
                "Expected a perplexity above 1 and below the number of candidates, "
                f"{count}, but got {self.perplexity:g}"
            )
        own, others = feature_distances(comparison, targets)

        def precision_of(rows: slice) -> Tensor:
            squares = products(own[rows], others, comparison).clamp_(min=0)
            comparison.exclude(squares, rows, fill=torch.inf)
            return precision_of_perplexity(squares, self.perplexity)

        precision = torch.cat([precision_of(rows) for rows in chunks_of(comparison)])
        return _GaussianRows(comparison, own, others, precision).target()


@dataclass(frozen=True)
class Spectral:
    """Gaussian on spectral coordinates of the neighbour graph of x, `targets` (B, F).

    Attributes:
        components: Number of coordinates.
        neighbors: Number of neighbours of each sample in the graph.
        bandwidth: sigma; the coordinates have variance 1.
    """

    components: int = 8
    neighbors: int = 10
    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        check_count("components", self.components)
        check_count("neighbors", self.neighbors)
        check_positive("bandwidth", self.bandwidth)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """p of the anchors."""
        from sklearn.manifold import SpectralEmbedding

        x = features_of(comparison, targets, "features")
        everyone = x if not comparison.gathered else comparison.of_candidates(x)
        if max(self.components, self.neighbors) >= len(everyone):
            raise ValueError(
                f"Expected more samples than `components` = {self.components} and "
                f"`neighbors` = {self.neighbors} but got {len(everyone)}"
            )
        embedding = SpectralEmbedding(
            self.components,
            affinity="nearest_neighbors",
            n_neighbors=self.neighbors,
            eigen_solver="lobpcg",  # ARPACK's shift-invert fills memory
            random_state=0,
        ).fit_transform(everyone.cpu().double().numpy())
        coordinates = torch.from_numpy(embedding).to(x)
        coordinates /= coordinates.std(dim=0).clamp_min(1e-12)
        if comparison.gathered and comparison.itself is not None:
            coordinates = coordinates[comparison.itself[:, 0]]
        return GaussianAffinity(self.bandwidth)(comparison, coordinates)


@dataclass(frozen=True)
class _GaussianRows:
    """Rows proportional to exp(-precision_i d_ij^2)."""

    comparison: Comparison
    own: Tensor
    others: Tensor
    precision: Tensor

    def target(self) -> Target:
        one_view = self.comparison.anchor_views == 1 and (
            self.comparison.positive is None
        )
        return Target(self.rows, transposed=self.transposed if one_view else None)

    def rows(self, rows: slice) -> Tensor:
        p = torch.softmax(self._logits(rows), dim=1)
        return p.to(self.comparison.anchors.dtype)

    def transposed(self, rows: slice) -> Tensor:
        scaled, log_sum = self._transposed
        logits = self._products(self.own[rows], scaled, rows)
        return logits.sub_(log_sum).exp_().to(self.comparison.anchors.dtype)

    def log_sums(self) -> Tensor:
        """Logarithms (A,) of the sums that the rows are divided by."""
        slices = chunks_of(self.comparison)
        return torch.cat([self._logits(rows).logsumexp(dim=1) for rows in slices])

    @cached_property
    def _scaled(self) -> Tensor:
        """The anchors' factors times -precision: their products are logits."""
        return self.own * -self.precision[:, None]

    @cached_property
    def _transposed(self) -> tuple[Tensor, Tensor]:
        """The candidates' factors times -precision, and their rows' log sums."""
        both = torch.stack([self.precision, self.log_sums()], dim=1)
        precision, log_sum = self.comparison.of_candidates(both).unbind(dim=1)
        return self.others * -precision[:, None], log_sum

    def _logits(self, rows: slice) -> Tensor:
        return self._products(self._scaled[rows], self.others, rows)

    def _products(self, own: Tensor, others: Tensor, rows: slice) -> Tensor:
        logits = products(own, others, self.comparison).clamp_(max=0)
        self.comparison.exclude(logits, rows)
        return logits
