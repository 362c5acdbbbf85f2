"""The purity of a field's rows by labels, and how far rows have moved."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rkdo_plugin.field import ResponseField
from rkdo_plugin.field.rows import UNFILLED


def purity(ids: Tensor, weights: Tensor, labels: Tensor) -> Tensor:
    """Share of each row's weight that is on neighbours of the sample's own class.

        purity_i = sum_j w_ij [y_j = y_i] / sum_j w_ij

    Args:
        ids: (N, k) integers, the neighbours of each of N samples; -1 where there is
            none.
        weights: (N, k) their weights, at least 0; 0 where there is none.
        labels: (N,) integers, the classes.

    Returns:
        (N,) in [0, 1], of the weights' dtype; NaN for a row without weight.

    Example:
        >>> ids, weights = torch.tensor([[1, 2]] * 3), torch.tensor([[0.75, 0.25]] * 3)
        >>> purity(ids, weights, torch.tensor([0, 0, 1]))
        tensor([0.7500, 0.7500, 0.2500])
    """
    same = labels[ids.long().clamp_min(0)] == labels[:, None]
    weights = weights.masked_fill(ids == UNFILLED, 0)
    return (weights * same).sum(dim=1) / weights.sum(dim=1)


def chance_purity(labels: Tensor) -> float:
    """Expected purity of rows that are drawn at random from the other samples.

    Args:
        labels: The classes (N,), integers; N is at least 2.
    """
    counts = torch.bincount(labels - labels.min()).double()
    return float((counts * (counts - 1)).sum() / (len(labels) * (len(labels) - 1)))


def moved_mass(field: ResponseField, start: ResponseField) -> Tensor:
    """Total variation distance of each row from what it was at the start.

        1/2 sum_j |p_t(j|i) - p_0(j|i)| = 1 - sum_j min(p_t(j|i), p_0(j|i))

    Args:
        field: p_t, of N samples.
        start: p_0, of the same samples.

    Returns:
        (N,) float32 in [0, 1].
    """
    same = field.ids[:, :, None] == start.ids[:, None, :]
    least = torch.minimum(field.weights[:, :, None], start.weights[:, None, :])
    common = (least * same).sum(dim=(1, 2))
    common += torch.minimum(field.self_mass, start.self_mass)
    return (1 - common).clamp(0, 1)


@dataclass(frozen=True)
class FieldPurity:
    """How pure the rows of a field are.

    Attributes:
        purity: Mean over the rows of the share of weight on the sample's own class.
        nearest: Share of rows whose heaviest neighbour is of the sample's own class.
    """

    purity: float
    nearest: float

    @classmethod
    def of(cls, field: ResponseField, labels: Tensor) -> "FieldPurity":
        """Means over the rows that have neighbours; NaN if no row has any."""
        rows = (field.ids, field.ids[:, :1]), (field.weights, field.weights[:, :1])
        return cls(
            *(
                float(purity(ids, weights, labels).nanmean())
                for ids, weights in zip(*rows, strict=True)
            )
        )
