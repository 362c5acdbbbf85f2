"""Rows of the response field: sparse distributions over neighbours.

A row is the k heaviest neighbours of a sample with their probabilities, beside the mass
that the sample keeps on itself. Unfilled slots hold the id -1 and weigh 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

UNFILLED = -1


@dataclass(frozen=True)
class Rows:
    """The rows in shared memory: what a loader's worker needs to draw partners.

    Attributes:
        ids: (N, k) int32, the neighbours; unique in a row and never the sample itself.
        weights: (N, k) float32, their probabilities, heaviest first.
        self_mass: (N,) float32; with the weights of its row it sums to 1.
        active_weight: () float32, the field weight in force; 0 during a warm-up.
    """

    ids: Tensor
    weights: Tensor
    self_mass: Tensor
    active_weight: Tensor

    def sample(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw j ~ (1 - w (1 - m)) onehot(i) + w (1 - m) row / |row| for each i.

        Args:
            index: (B,) int64.
            generator: Of the draws; torch's default one when not given.

        Returns:
            (B,) int64.
        """
        leaves, which = torch.rand(2, len(index), generator=generator)
        cumulative = self.weights[index].cumsum(dim=1)
        total = cumulative[:, -1]
        slot = (cumulative < (which * total)[:, None]).sum(dim=1)
        partner = self.ids[index, slot].long()
        moves = leaves < self.active_weight * (1 - self.self_mass[index])
        # Another process may be writing the row: an unfilled slot is never followed.
        moves &= partner != UNFILLED
        return torch.where(moves, partner, index)


def mix_rows(
    ids: Tensor, weights: Tensor, new_ids: Tensor, new_weights: Tensor, coupling: float
) -> tuple[Tensor, Tensor]:
    """The neighbours' part of p <- (1 - a) p + a q, truncated to the k heaviest.

    The mass that truncation cuts off goes to the neighbours that are kept, in
    proportion to their own.

    Args:
        ids: (B, k), unique in a row.
        weights: (B, k), p without its self mass.
        new_ids: (B, k), unique in a row.
        new_weights: (B, k), q; a row sums to 1.
        coupling: a.

    Returns:
        ids (B, k) and weights (B, k), heaviest first; a row's weights sum to
        (1 - a) times what they were plus a.
    """
    same = (ids[:, :, None] == new_ids[:, None, :]) & (ids != UNFILLED)[:, :, None]
    kept = (1 - coupling) * weights
    added = coupling * new_weights
    mass = kept.sum(dim=1, keepdim=True) + added.sum(dim=1, keepdim=True)
    kept = kept + (same * added[:, None, :]).sum(dim=2)
    added = added.masked_fill(same.any(dim=1), 0)
    mixed, order = torch.cat([kept, added], dim=1).topk(ids.shape[1], dim=1)
    mixed_ids = torch.cat([ids, new_ids], dim=1).gather(1, order)
    total = mixed.sum(dim=1, keepdim=True)
    mixed = mixed * (mass / total.clamp_min(torch.finfo(mixed.dtype).tiny))
    return mixed_ids.masked_fill(mixed == 0, UNFILLED), mixed
