"""Which samples are in a training batch."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rkdo_plugin.options import holds_integers


@dataclass(frozen=True)
class BatchSamples:
    """The samples that the views of a batch show.

    Attributes:
        views: Number of views. The first shows the sample, all others its partner.
        index: The samples (B,), integers.
        partner: Their partners (B,), integers; the samples themselves without partners.
    """

    views: int
    index: Tensor
    partner: Tensor

    def of_views(self) -> list[Tensor]:
        """Ids (B,) of the samples that each view shows."""
        return [self.index, *[self.partner] * (self.views - 1)]


def read_batch(batch: Any) -> BatchSamples:
    """Read a batch of (views, target, index, partner), or one without partners.

    Raises:
        TypeError: The batch holds no indices.
    """
    fields = list(batch) if isinstance(batch, list | tuple) else []
    ids = fields[2:4]
    if not (
        ids and isinstance(fields[0], list | tuple) and all(_is_index(i) for i in ids)
    ):
        got = ", ".join(_describe(field) for field in fields) or _describe(batch)
        raise TypeError(
            "Expected batches of (views, target, index, partner) but the training "
            f"loader gave ({got}): wrap its data set in FieldPairs(dataset, transform, "
            "field), or return the sample's index, an int, as third item"
        )
    return BatchSamples(len(fields[0]), ids[0], ids[-1])


def _is_index(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 1 and holds_integers(value)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    if isinstance(value, list | tuple) and value:
        return f"{type(value).__name__} of {len(value)} {type(value[0]).__name__}"
    return type(value).__name__
