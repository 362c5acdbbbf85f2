"""The bounds that an exported file has to keep, for each precision."""

import math
from dataclasses import dataclass

from rkdo_plugin.export.file.metadata import Precision


@dataclass(frozen=True)
class Gate:
    """Bounds for the figures of a comparison. By default most figures have no bound.

    Attributes:
        max_abs: Upper bound of the largest |difference| of a component.
        max_one_minus_cosine: Upper bound of 1 - cosine of the worst image.
        mean_one_minus_cosine: Upper bound of the mean of 1 - cosine over the images.
        max_norm_error: Upper bound of the largest |norm - 1|.
        neighbors_kept: Lower bound of the share of the ten nearest neighbours that
            stay the same.
        knn_drop: Upper bound of the accuracy that the vote of the ten nearest
            neighbours loses.
    """

    max_abs: float = math.inf
    max_one_minus_cosine: float = math.inf
    mean_one_minus_cosine: float = math.inf
    max_norm_error: float = 1e-6
    neighbors_kept: float = -math.inf
    knn_drop: float = math.inf

    @property
    def max_relative(self) -> float:
        """Upper bound of the largest |difference| over the largest component.

        It holds for an encoder that does not normalise. It is the distance of two unit
        vectors at the largest allowed 1 - cosine, or `max_abs` if that is smaller.
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
    "int8-tensorrt": _INT8,
}
