"""p by features of the samples: neighbours, Gaussians, similarities."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from rkdo_plugin.kernels import distance_factors
from rkdo_plugin.normalizers import softmax_
from rkdo_plugin.options import check_count, check_positive, check_temperature
from rkdo_plugin.rowwise import chunks
from rkdo_plugin.supervision import targets_given
from rkdo_plugin.supervision.comparison import Comparison
from rkdo_plugin.supervision.perplexity import precision_of_perplexity
from rkdo_plugin.supervision.target import Target, mean_one

SquaredDistances = Callable[[slice], Tensor]


@dataclass(frozen=True)
class Neighbors:
    """p = 1/k on each of the k nearest candidates, by `targets`: features (B, F).

    The anchor is no neighbour of its own; its other view, whose features are the same,
    is its nearest.

    Attributes:
        k: Number of neighbours.
    """

    k: int = 5

    def __post_init__(self) -> None:
        check_count("k", self.k)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """P of the anchors."""
        others = len(comparison.candidates) - (comparison.itself is not None)
        if self.k > others:
            raise ValueError(
                f"Expected at least `k` = {self.k} candidates but got {others}"
            )
        squares = _squared_distances(comparison, targets)

        def rows(rows: slice) -> Tensor:
            distances = squares(rows)
            if comparison.itself is not None:
                distances.scatter_(1, comparison.itself[rows], torch.inf)
            nearest = distances.topk(self.k, dim=1, largest=False, sorted=False).indices
            p = torch.zeros_like(distances, dtype=comparison.anchors.dtype)
            return p.scatter_(1, nearest, 1 / self.k)

        return Target(rows)


@dataclass(frozen=True)
class Gaussian:
    """P proportional to exp(-||x_i - x_j||^2 / (2 sigma^2)); `targets` are x (B, F).

    Attributes:
        bandwidth: sigma, of one size with the distances.
        degrees: Weight anchors and candidates by d_i = sum_j of that, as normalised
            cuts do.
    """

    bandwidth: float = 1.0
    degrees: bool = False

    def __post_init__(self) -> None:
        check_positive("bandwidth", self.bandwidth)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """P of the anchors."""
        squares = _squared_distances(comparison, targets)
        shape = (len(comparison.anchors),)
        precision = comparison.anchors.new_full(shape, 0.5 / self.bandwidth**2)
        rows = _GaussianRows(comparison, squares, precision)
        if not self.degrees:
            return rows.target()
        log_degree = rows.log_sums()
        # The candidates are the anchors, of all processes.
        largest = comparison.of_all(log_degree).max()
        degree = mean_one(comparison, (log_degree - largest).exp())
        return replace(
            rows.target(),
            weight=degree,
            candidate_weight=comparison.of_candidates(degree),
        )


@dataclass(frozen=True)
class Perplexity:
    """Gaussian whose sigma_i gives each row a perplexity; `targets` are x (B, F).

    p(j|i) is proportional to exp(-||x_i - x_j||^2 / (2 sigma_i^2)), where
    exp(-sum_j p(j|i) log p(j|i)) = perplexity.

    Attributes:
        perplexity: Effective number of neighbours, above 1 and below the candidates'.
    """

    perplexity: float = 30.0

    def __post_init__(self) -> None:
        check_positive("perplexity", self.perplexity)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """P of the anchors."""
        others = len(comparison.candidates) - comparison.excludes_itself
        if not 1 < self.perplexity < others:
            raise ValueError(
                "Expected a perplexity above 1 and below the number of candidates, "
                f"{others}, but got {self.perplexity:g}"
            )
        squares = _squared_distances(comparison, targets)
        precision = torch.cat(
            [
                precision_of_perplexity(
                    _with_excluded(comparison, squares, rows), self.perplexity
                )
                for rows in _chunks(comparison)
            ]
        )
        return _GaussianRows(
            comparison, squares, precision.to(comparison.anchors)
        ).target()


@dataclass(frozen=True)
class Similarity:
    """P proportional to exp(g_i . g_j / tau), as in X-Sample; `targets` are g (B, F).

    Attributes:
        temperature: tau of the supervision.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """P of the anchors."""
        g = _features(comparison, targets, "metadata")
        own, others = comparison.of_anchors(g), comparison.of_candidates(g)

        def rows(rows: slice) -> Tensor:
            logits = (own[rows] @ others.T).mul_(1 / self.temperature)
            comparison.exclude(logits, rows)
            softmax_(logits)
            return logits.to(comparison.anchors)

        return Target(rows)


@dataclass(frozen=True)
class Spectral:
    """Gaussian on spectral coordinates of the neighbour graph of x, `targets` (B, F).

    Attributes:
        components: Number of coordinates.
        neighbors: Of each sample in the graph.
        bandwidth: sigma, where the coordinates have variance 1.
    """

    components: int = 8
    neighbors: int = 10
    bandwidth: float = 0.5

    def __post_init__(self) -> None:
        check_count("components", self.components)
        check_count("neighbors", self.neighbors)
        check_positive("bandwidth", self.bandwidth)

    def __call__(self, comparison: Comparison, targets: Tensor | None) -> Target:
        """P of the anchors."""
        from sklearn.manifold import SpectralEmbedding

        x = _features(comparison, targets, "features")
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
        return Gaussian(self.bandwidth)(comparison, coordinates)


def _features(comparison: Comparison, targets: Tensor | None, what: str) -> Tensor:
    samples = len(comparison.anchors) // comparison.anchor_views
    return targets_given.features(targets, samples, what)


def _squared_distances(
    comparison: Comparison, targets: Tensor | None
) -> SquaredDistances:
    """||x_i - x_j||^2 (R, C) of the rows in a slice."""
    x = _features(comparison, targets, "features")
    own, others = comparison.of_anchors(x), comparison.of_candidates(x)
    own, others = distance_factors(own, others)
    return lambda rows: (own[rows] @ others.T).clamp_(min=0)


def _with_excluded(
    comparison: Comparison, squares: SquaredDistances, rows: slice
) -> Tensor:
    distances = squares(rows)
    comparison.exclude(distances, rows, fill=torch.inf)
    return distances


@dataclass(frozen=True)
class _GaussianRows:
    """Rows proportional to exp(-precision_i d_ij^2)."""

    comparison: Comparison
    squares: SquaredDistances
    precision: Tensor

    def target(self) -> Target:
        one_view = self.comparison.anchor_views == 1 and (
            self.comparison.positive is None
        )
        return Target(self.rows, transposed=self.transposed if one_view else None)

    def rows(self, rows: slice) -> Tensor:
        logits = self._logits(rows)
        softmax_(logits)
        return logits

    def transposed(self, rows: slice) -> Tensor:
        precision, log_sum = self._of_candidates
        logits = self.squares(rows).to(precision).mul_(-precision)
        self.comparison.exclude(logits, rows)
        return logits.sub_(log_sum).exp_()

    @cached_property
    def _of_candidates(self) -> tuple[Tensor, Tensor]:
        both = torch.stack([self.precision, self.log_sums()], dim=1)
        precision, log_sum = self.comparison.of_candidates(both).unbind(dim=1)
        return precision, log_sum

    def log_sums(self) -> Tensor:
        """Logarithms (A,) of what the rows are divided by."""
        chunks_ = _chunks(self.comparison)
        return torch.cat([self._logits(rows).logsumexp(dim=1) for rows in chunks_])

    def _logits(self, rows: slice) -> Tensor:
        logits = self.squares(rows).to(self.precision)
        logits.mul_(-self.precision[rows, None])
        self.comparison.exclude(logits, rows)
        return logits


def _chunks(comparison: Comparison) -> list[slice]:
    anchors, candidates = comparison.anchors, comparison.candidates
    return chunks(len(anchors), len(candidates), anchors.device)
