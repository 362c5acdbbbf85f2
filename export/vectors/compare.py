"""Two encoders by the vectors of the same images: what a change would change."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.export.vectors.alike import Pairs, alike, spread
from rkdo_plugin.export.vectors.read import Vectors, read_vectors, rows_of
from rkdo_plugin.export.vectors.search import nearest
from rkdo_plugin.export.vectors.tiles import Row, Sheet, Tile

LEAST = 3  # images in both that a comparison needs
MOVED = 12  # images that moved most, which are shown
SHOWN = 8  # of their neighbours, at most


@dataclass(frozen=True)
class Moved:
    """An image that moved, and its neighbours before and after.

    Attributes:
        key: Its key.
        cosine: Of its two vectors, after the orthogonal map.
        before: Keys of its nearest images by the first encoder.
        after: Likewise by the second one.
    """

    key: str
    cosine: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of `compare_encoders`.

    Each figure's chance is its value for the same vectors with the images shuffled.

    Attributes:
        first, second: Names of the two.
        dims: Their numbers of components.
        images: Number of images in both.
        only_first, only_second: Numbers of those in one alone.
        count: k, the number of neighbours.
        queries: Number of images whose neighbours were compared.
        overlap: Share of the k nearest images that both have, in the mean.
        overlap_chance: k / (images - 1).
        cka: Linear centred kernel alignment, from 0 to 1.
        cka_chance: Its chance.
        cosines: Cosine of each image's two vectors after the orthogonal map that makes
            them most alike, float32 (images,), in the order of the first.
        cosine_chance: Their mean's chance.
        moved: The images of the smallest cosines.
        channels: Of the first encoder's images.
    """

    first: str
    second: str
    dims: tuple[int, int]
    images: int
    only_first: int
    only_second: int
    count: int
    queries: int
    overlap: float
    overlap_chance: float
    cka: float
    cka_chance: float
    cosines: NDArray[np.float32]
    cosine_chance: float
    moved: tuple[Moved, ...]
    channels: int

    def __str__(self) -> str:
        low, middle = np.quantile(self.cosines, [0.05, 0.5])
        shown = [
            (f"overlap of {self.count} neighbours", self.overlap, self.overlap_chance),
            ("linear CKA", self.cka, self.cka_chance),
            ("mean cosine", float(self.cosines.mean()), self.cosine_chance),
        ]
        return "\n".join(
            [
                f"{self.first} ({self.dims[0]} numbers) and "
                f"{self.second} ({self.dims[1]}): {self.images:,} images in both",
                f"only in one: {self.only_first:,} and {self.only_second:,}",
                f"{'':28}measured  shuffled",
                *(f"  {name:26}{value:8.4f}  {by:8.4f}" for name, value, by in shown),
                f"  median cosine {middle:.4f}; 5 % of the images lie below {low:.4f}",
                f"overlap: of {self.queries:,} images; "
                "cosines: after the orthogonal map",
                "moved most:",
                *(f"  {each.cosine:7.4f}  {each.key}" for each in self.moved),
            ]
        )

    @property
    def sheet(self) -> Sheet:
        """The images that moved most, with their neighbours before and after."""
        rows = []
        for each in self.moved:
            lead = Tile(each.key, f"{each.cosine:.4f}")
            for name, keys in ((self.first, each.before), (self.second, each.after)):
                tiles = tuple(Tile(key, "") for key in keys)
                rows.append(Row(f"{each.key}: nearest in {name}", lead, tiles))
        title = f"moved most from {self.first} to {self.second}"
        return Sheet(title, tuple(rows), self.channels)


def compare_encoders(
    first: Vectors | str | Path,
    second: Vectors | str | Path,
    *,
    count: int = 10,
    queries: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two encoders by the vectors of the same images, which keys pair.

    All figures are of directions: vectors are first made of norm 1. With unit rows
    A (N, D), B (N, E) and their centred copies A', B':

        CKA = ||A'^T B'||^2 / (||A'^T A'|| ||B'^T B'||), Frobenius norms

        cosines = row sums of (A R) * B, R = argmin ||A R - B|| over orthogonal R, where
        the narrower of A and B is padded with zeros

    Args:
        first: What `read_vectors` returned, or its path.
        second: Likewise.
        count: Number of neighbours of an image.
        queries: Images whose neighbours are compared, at most; among all in both.
        seed: Seed of the draw of these, and of the shuffle.

    Raises:
        OSError: There are no such vectors.
        ValueError: `read_vectors` refuses them, fewer than 3 keys are in both, or a
            number is out of range.

    Example:
        >>> found = compare_encoders("old.parquet", "new")  # doctest: +SKIP
        >>> found.overlap, found.overlap_chance  # doctest: +SKIP
        (0.7312, 0.0002)

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited
    (ICML 2019).
    """
    a, b = read_vectors(first), read_vectors(second)
    rows = rows_of(a.keys, b.keys)
    pairs = np.flatnonzero(rows >= 0), rows[rows >= 0]
    shared = len(pairs[0])
    if shared < LEAST:
        raise ValueError(
            f"Expected at least {LEAST} keys in both {a.name} and {b.name} but got "
            f"{shared}; {len(a) - shared} and {len(b) - shared} are in one alone; the "
            f"first keys are {a.key(0)} and {b.key(0)}"
        )
    if not 1 <= count < shared:
        raise ValueError(
            f"Expected `count` to be from 1 to {shared - 1}, the number of other "
            f"images in both, but got {count}"
        )
    if queries < 1:
        raise ValueError(f"Expected `queries` to be at least 1 but got {queries}")
    generator = np.random.default_rng(seed)
    drawn = generator.permutation(shared)[:queries]
    shuffled = pairs[0], generator.permutation(pairs[1])
    spreads = spread(a, pairs[0]), spread(b, pairs[1])
    (cka, cosines), (cka_chance, by_chance) = (
        alike(a.rows, b.rows, each, spreads) for each in (pairs, shuffled)
    )
    before, after = (
        _neighbours(each.rows, among, drawn, count)
        for each, among in zip((a, b), pairs, strict=True)
    )
    common = [np.isin(*both).sum() for both in zip(before, after, strict=True)]
    return Comparison(
        first=a.name,
        second=b.name,
        dims=(a.dim, b.dim),
        images=shared,
        only_first=len(a) - shared,
        only_second=len(b) - shared,
        count=count,
        queries=len(drawn),
        overlap=float(np.mean(common)) / count,
        overlap_chance=count / (shared - 1),
        cka=cka,
        cka_chance=cka_chance,
        cosines=cosines,
        cosine_chance=float(by_chance.mean()),
        moved=_moved(a, b, pairs, cosines, count),
        channels=a.channels,
    )


def _neighbours(
    rows: NDArray[Any], among: NDArray[np.int64], of: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Nearest rows among some, as places in these; of the rows at given places."""
    return nearest(rows[among[of]], rows, count, without=of, among=among)[1]


def _moved(
    a: Vectors, b: Vectors, pairs: Pairs, cosines: NDArray[np.float32], count: int
) -> tuple[Moved, ...]:
    """The images of the smallest cosines, from the smallest."""
    far = np.argsort(cosines, kind="stable")[:MOVED]
    keys = a.keys.take(pairs[0])
    before, after = (
        _neighbours(each.rows, among, far, min(count, SHOWN))
        for each, among in zip((a, b), pairs, strict=True)
    )
    return tuple(
        Moved(
            str(keys[place]),
            float(cosines[place]),
            *(tuple(keys.take(found[row]).to_pylist()) for found in (before, after)),
        )
        for row, place in enumerate(far)
    )
