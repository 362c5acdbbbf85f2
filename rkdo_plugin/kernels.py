"""Similarities of embeddings, each as a function of one matrix of dot products.

Every kernel maps anchors and candidates to factors whose products hold all that the
similarity depends on, so that one matrix multiplication serves any of them.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rkdo_plugin.factors import distance_factors, unit_rows
from rkdo_plugin.options import check_positive


@runtime_checkable
class Kernel(Protocol):
    """A similarity s(f_i, f_j), as its logarithm.

    Attributes:
        linear: Whether log s is the product itself: a temperature may then be learned.
        normalizer: Key of `NORMALIZERS` in losses/learned.py, which turns log s into
            log q. It is "softmax" except for the limits of the Gaussian.
    """

    @property
    def linear(self) -> bool: ...  # noqa: D102

    @property
    def normalizer(self) -> str: ...  # noqa: D102

    def factors(
        self, anchors: Tensor, candidates: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Factors (A, E), (C, E) of anchors (A, D) and candidates (C, D).

        The weights (C,) say how much each candidate counts in a sum over candidates;
        all count alike when not given.
        """

    def log_similarity(self, products: Tensor) -> tuple[Tensor, Tensor | None]:
        """log s (R, C), and its derivative with respect to the factors' products.

        The products (R, C) may be overwritten. A derivative of None stands for 1.
        """


class _Linear:
    """log s is the product of the factors."""

    linear = True
    normalizer = "softmax"

    def log_similarity(self, products: Tensor) -> tuple[Tensor, None]:
        return products, None


class _OfDistance:
    """log s depends on the squared distance, which is the product of the factors."""

    linear = False
    normalizer = "softmax"

    def factors(
        self, anchors: Tensor, candidates: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return distance_factors(anchors, candidates)


@dataclass(frozen=True)
class Cosine(_Linear):
    """s = exp(cos(f_i, f_j)); normalises inside."""

    def factors(
        self, anchors: Tensor, candidates: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Unit vectors."""
        unit = unit_rows(anchors)
        return unit, unit if candidates is anchors else unit_rows(candidates)


@dataclass(frozen=True)
class Dot(_Linear):
    """s = exp(f_i . f_j); takes the embeddings as they come."""

    def factors(
        self, anchors: Tensor, candidates: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The embeddings themselves."""
        return anchors, candidates


@dataclass(frozen=True)
class Gaussian(_Linear):
    r"""s = exp(-||f_i - f_j||^2 / (2 sigma^2)); takes the embeddings as they come.

    In the limits, 2 sigma^2 KL(p || q) minus a constant tends to

        sigma -> inf:  sum_j p_j d_j^2 - mean_j d_j^2    (attract, and spread: VICReg)
        sigma -> 0:    sum_j p_j d_j^2 - min_j d_j^2     (the hardest negative: triplet)

    Attributes:
        bandwidth: sigma, in [0, inf]; 0 and inf are the limits.
    """

    bandwidth: float = 1.0

    def __post_init__(self) -> None:
        if self.bandwidth not in (0, math.inf):
            check_positive("bandwidth", self.bandwidth)

    @property
    def normalizer(self) -> str:  # type: ignore[override]
        """What turns log s into log q."""
        return {0: "max", math.inf: "mean"}.get(self.bandwidth, "softmax")

    def factors(
        self, anchors: Tensor, candidates: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Factors whose product is -||a - c||^2 / (2 sigma^2)."""
        anchors, candidates = distance_factors(anchors, candidates)
        limit = self.normalizer != "softmax"
        return anchors * (-1 if limit else -0.5 / self.bandwidth**2), candidates


@dataclass(frozen=True)
class StudentT(_OfDistance):
    """s = (1 + ||f_i - f_j||^2 / nu)^(-(nu + 1) / 2); embeddings as they come.

    Attributes:
        degrees_of_freedom: nu, positive; 1 is the Cauchy kernel of t-SNE.
    """

    degrees_of_freedom: float = 1.0

    def __post_init__(self) -> None:
        check_positive("degrees_of_freedom", self.degrees_of_freedom)

    def log_similarity(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """log s of squared distances."""
        nu = self.degrees_of_freedom
        denominator = products.clamp_(min=0).add_(nu)
        power = -(nu + 1) / 2
        return (denominator / nu).log_().mul_(power), denominator.reciprocal_().mul_(
            power
        )


@dataclass(frozen=True)
class PowerLaw(_OfDistance):
    """s = ||f_i - f_j||^-n, as in the harmonic loss; embeddings as they come.

    Attributes:
        exponent: n, positive.
    """

    exponent: float = 2.0

    def __post_init__(self) -> None:
        check_positive("exponent", self.exponent)

    def log_similarity(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """log s of squared distances; points that coincide get no gradient."""
        info = torch.finfo(products.dtype)
        # A square is as exact as the largest of its row, whatever their unit.
        smallest = (products.amax(dim=1, keepdim=True) * info.eps).clamp_(min=info.tiny)
        coincide = products <= smallest
        squares = products.clamp_(min=smallest)
        slope = (-self.exponent / 2 / squares).masked_fill_(coincide, 0)
        return squares.log_().mul_(-self.exponent / 2), slope


@dataclass(frozen=True)
class Clusters:
    """Probability of reaching j from i through a cluster; embeddings are its logits.

    s = sum_c f_ic f_jc / sum_k f_kc,    f_i = softmax(z_i)

    The embeddings are (B, K). The sum over k is over the candidates. With the anchor
    among the candidates s sums to 1, so that q is s.
    """

    linear = False
    normalizer = "softmax"

    def factors(
        self, anchors: Tensor, candidates: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Assignments of the anchors, and each candidate's share of the clusters."""
        of_candidates = torch.softmax(candidates, dim=1)
        of_anchors = (
            of_candidates if anchors is candidates else torch.softmax(anchors, dim=1)
        )
        counted = of_candidates if weights is None else of_candidates * weights[:, None]
        # In single precision the size of an empty cluster can be 0.
        size = counted.sum(dim=0).clamp_min(torch.finfo(counted.dtype).tiny)
        return of_anchors, of_candidates / size

    def log_similarity(self, products: Tensor) -> tuple[Tensor, Tensor]:
        """log of the products; where they underflow there is no gradient."""
        smallest = torch.finfo(products.dtype).tiny
        slope = products.reciprocal().masked_fill_(products < smallest, 0)
        return products.clamp_(min=smallest).log_(), slope


KERNELS: dict[str, type[Kernel]] = {
    "cosine": Cosine,
    "dot": Dot,
    "gaussian": Gaussian,
    "student_t": StudentT,
    "power_law": PowerLaw,
    "clusters": Clusters,
}
