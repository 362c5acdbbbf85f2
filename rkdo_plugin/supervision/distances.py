"""p by features of the samples: neighbours, Gaussians, similarities."""

from collections.abc import Callable
from dataclasses import dataclass

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
        precision = torch.full((len(comparison.anchors),), 0.5 / self.bandwidth**2)
        target, log_sum = _of_precision(comparison, squares, precision)
        if not self.degrees:
            return target
        # The candidates are the anchors, of all processes.
        largest = comparison.of_all(log_sum).max()
        degree = mean_one(comparison, (log_sum - largest).exp())
        return Target(
            target.rows,
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
        return _of_precision(comparison, squares, precision)[0]


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


def _of_precision(
    comparison: Comparison, squares: SquaredDistances, precision: Tensor
) -> tuple[Target, Tensor]:
    """Rows exp(-precision_i d^2) / sum, and the sums' logarithms (A,)."""
    precision = precision.to(comparison.anchors)
    log_sum = torch.cat(
        [
            _logits(comparison, squares, precision, rows).logsumexp(dim=1)
            for rows in _chunks(comparison)
        ]
    )

    def rows(rows: slice) -> Tensor:
        logits = _logits(comparison, squares, precision, rows)
        return logits.sub_(log_sum[rows, None]).exp_()

    def transposed(rows: slice) -> Tensor:
        of_candidates = comparison.of_candidates(torch.stack([precision, log_sum], 1))
        logits = squares(rows).to(precision).mul_(-of_candidates[:, 0])
        comparison.exclude(logits, rows)
        return logits.sub_(of_candidates[:, 1]).exp_()

    one_view = comparison.anchor_views == 1 and comparison.positive is None
    return Target(rows, transposed=transposed if one_view else None), log_sum


def _logits(
    comparison: Comparison, squares: SquaredDistances, precision: Tensor, rows: slice
) -> Tensor:
    logits = squares(rows).to(precision).mul_(-precision[rows, None])
    comparison.exclude(logits, rows)
    return logits


def _chunks(comparison: Comparison) -> list[slice]:
    anchors, candidates = comparison.anchors, comparison.candidates
    return chunks(len(anchors), len(candidates), anchors.device)
