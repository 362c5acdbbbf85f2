"""What a search for an int8 graph tried, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

HEADER = ("ranges", "in float32", "multiply-adds", "max", "mean", "kept", "of the gate")


@dataclass(frozen=True)
class Attempt:
    """One graph that was built and judged.

    Attributes:
        method: How the ranges of activations were found.
        layers: Number of layers that stayed in float32.
        share: Share of the multiply-adds that stayed in float32.
        max_one_minus_cosine: Largest 1 - cosine of the two embeddings of an image.
        mean_one_minus_cosine: Mean of 1 - cosine over the images.
        neighbors_kept: Share of the ten nearest neighbours that stayed the same.
        strain: The largest figure over its bound. Up to 1 the graph passes.
    """

    method: str
    layers: int
    share: float
    max_one_minus_cosine: float
    mean_one_minus_cosine: float
    neighbors_kept: float
    strain: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The attempt as a row of a table."""
        return (
            self.method,
            str(self.layers),
            f"{self.share:.1%}",
            f"{self.max_one_minus_cosine:.1e}",
            f"{self.mean_one_minus_cosine:.1e}",
            f"{self.neighbors_kept:.3f}",
            f"{self.strain:.2f}",
        )


def table(attempts: Sequence[Attempt]) -> list[str]:
    """Return attempts as lines of equal columns, below a header."""
    rows = [HEADER, *(attempt.cells for attempt in attempts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
