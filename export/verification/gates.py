"""What an exported file has to keep, for each precision."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Gate:
    """Bounds of what a comparison finds; those not given bind nothing.

    Attributes:
        max_abs: Of the largest |difference| of a component.
        max_one_minus_cosine: Of the worst image's 1 - cosine.
        mean_one_minus_cosine: Of the images' mean 1 - cosine.
        max_norm_error: Of the largest |norm - 1|.
        neighbors_kept: The least share of the ten nearest neighbours that stay.
        knn_drop: The most accuracy that nearest neighbours may lose.
    """

    max_abs: float = math.inf
    max_one_minus_cosine: float = math.inf
    mean_one_minus_cosine: float = math.inf
    max_norm_error: float = 1e-6
    neighbors_kept: float = -math.inf
    knn_drop: float = math.inf

    @property
    def max_relative(self) -> float:
        """Of |difference| over the largest component, without norms.

        Unit vectors at the largest 1 - cosine are so far apart.
        """
        return min(self.max_abs, math.sqrt(2 * self.max_one_minus_cosine))


_INT8 = Gate(
    max_one_minus_cosine=2e-3,
    mean_one_minus_cosine=5e-4,
    neighbors_kept=0.94,
    knn_drop=0.005,
)
GATES: dict[Precision, Gate] = {
    "fp32": Gate(max_abs=1e-5, max_one_minus_cosine=1e-9),
    "fp16": Gate(max_one_minus_cosine=1e-5),
    "int8": _INT8,
    "int8-dynamic": _INT8,
}


def require_precision(precision: str) -> None:
    """Refuse a precision that does not exist.

    Raises:
        ValueError: The name is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"Expected `precision` to be one of {', '.join(PRECISIONS)} but got "
            f"'{precision}'"
        )
