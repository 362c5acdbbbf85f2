"""Do new images look like those that an encoder was calibrated on?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist

from rkdo_plugin.export.vectors.read import Vectors, read_vectors
from rkdo_plugin.export.vectors.two_samples import (
    NEIGHBOUR,
    median_distance,
    mmd,
    neighbour_distances,
    p_value,
)


@dataclass(frozen=True)
class Drift:
    """The result of `drift`.

    Attributes:
        reference, new: Names of the two.
        sizes: Numbers of vectors in them.
        sampled: Numbers of those that were compared.
        mmd: Squared maximum mean discrepancy, unbiased: about 0 without a drift.
        mmd_p: Its p-value.
        bandwidth: Of the kernel.
        distance: Of a new image to its fifth nearest in the reference, in the mean.
        reference_distance: Of an image of the reference to its fifth nearest there.
        distance_p: p-value of the difference.
        permutations: Number of shuffles behind the p-values.
        checked: Whether both are known to be of one encoder.
    """

    reference: str
    new: str
    sizes: tuple[int, int]
    sampled: tuple[int, int]
    mmd: float
    mmd_p: float
    bandwidth: float
    distance: float
    reference_distance: float
    distance_p: float
    permutations: int
    checked: bool

    @property
    def smallest_p(self) -> float:
        """The smaller p-value."""
        return min(self.mmd_p, self.distance_p)

    def __str__(self) -> str:
        samples = " and ".join(
            f"{sampled:,} of {size:,} in {name}"
            for name, sampled, size in zip(
                (self.reference, self.new), self.sampled, self.sizes, strict=True
            )
        )
        lines = [
            samples,
            f"  MMD^2     {self.mmd:10.6f}   p = {self.mmd_p:.4f}   "
            f"RBF kernel of bandwidth {self.bandwidth:.4f}",
            f"  distance  {self.distance:10.6f}   p = {self.distance_p:.4f}   "
            f"among the reference {self.reference_distance:.6f}",
            f"distance: to the {NEIGHBOUR}th nearest image of the reference; p: of "
            f"{self.permutations:,} shuffles",
        ]
        if not self.checked:
            lines.append("not checked: whether both are of one encoder")
        return "\n".join(lines)


def drift(
    reference: Vectors | str | Path,
    new: Vectors | str | Path,
    *,
    sample: int = 2000,
    permutations: int = 999,
    seed: int = 0,
) -> Drift:
    """Compare new images with those that an encoder was calibrated on.

    Two tests, each with a p-value by permutation: the images of both are shuffled, and
    p is (1 + the number of shuffles that are no less apart) / (1 + permutations).

        MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), x not x', y not y'
        k(u, v) = exp(-||u - v||^2 / (2 s^2)), s = median distance of all pairs

        distance = mean over y of the distance to its fifth nearest x, less the same
        mean over x, which are no neighbours of themselves

    Args:
        reference: What `read_vectors` returned, or its path: the x.
        new: Likewise: the y.
        sample: Vectors of each that are compared, at most, drawn by the seed.
        permutations: Number of shuffles.
        seed: Seed of the draw and of the shuffles.

    Raises:
        OSError: There are no such vectors.
        ValueError: `read_vectors` refuses them, they are of two encoders, one has fewer
            than 6, or a number is out of range.

    Example:
        >>> drift("calibration.parquet", "today.parquet").mmd_p  # doctest: +SKIP
        0.001

    Source: Gretton et al., A Kernel Two-Sample Test (JMLR 2012), lemma 6.
    """
    a, b = read_vectors(reference), read_vectors(new)
    if permutations < 1:
        raise ValueError(
            f"Expected `permutations` to be at least 1 but got {permutations}"
        )
    if None not in (a.encoder, b.encoder) and a.encoder != b.encoder:
        raise ValueError(
            f"Expected vectors of one encoder but that of {a.name} is {a.encoder} and "
            f"that of {b.name} is {b.encoder}"
        )
    if a.dim != b.dim:
        raise ValueError(
            f"Expected vectors of one length but got {a.dim} numbers in {a.name} and "
            f"{b.dim} in {b.name}"
        )
    if sample <= NEIGHBOUR:
        raise ValueError(
            f"Expected `sample` to be at least {NEIGHBOUR + 1} but got {sample}"
        )
    for each in (a, b):
        if len(each) <= NEIGHBOUR:
            raise ValueError(
                f"Expected at least {NEIGHBOUR + 1} vectors in {each.name} but got "
                f"{len(each)}"
            )
    generator = np.random.default_rng(seed)
    drawn = [
        each.rows[generator.permutation(len(each))[:sample]].astype(np.float64)
        for each in (a, b)
    ]
    pooled = np.concatenate(drawn)
    distances = cdist(pooled, pooled)
    is_new = np.arange(len(pooled)) >= len(drawn[0])
    shuffled = [is_new, *(generator.permutation(is_new) for _ in range(permutations))]
    members = np.stack(shuffled)
    bandwidth = median_distance(distances)
    mmds = mmd(np.exp(-(distances**2) / (2 * bandwidth**2)), members)
    apart = neighbour_distances(distances, members)
    gaps = apart[:, 0] - apart[:, 1]
    return Drift(
        reference=a.name,
        new=b.name,
        sizes=(len(a), len(b)),
        sampled=(len(drawn[0]), len(drawn[1])),
        mmd=float(mmds[0]),
        mmd_p=p_value(mmds),
        bandwidth=bandwidth,
        distance=float(apart[0, 0]),
        reference_distance=float(apart[0, 1]),
        distance_p=p_value(gaps),
        permutations=permutations,
        checked=a.encoder is not None and a.encoder == b.encoder,
    )
