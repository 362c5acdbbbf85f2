"""Rows of the response field: sparse distributions over neighbours.

A row holds the k heaviest neighbours of a sample with their probabilities, and the mass
that the sample keeps on itself. Unfilled slots hold the id -1 and weigh 0.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rkdo_plugin.options import check_type

UNFILLED = -1


@dataclass(frozen=True)
class Rows:
    """The rows in shared memory: what a loader's worker needs to draw partners.

    Attributes:
        ids: (N, k) int32, the neighbours; unique in a row and never the sample itself.
        weights: (N, k) float32, their probabilities, heaviest first.
        self_mass: (N,) float32; with the weights of its row it sums to 1.
        doubted: (N, k) bool, the neighbours that no evidence supports; not followed.
        active_weight: () float32, the field weight in force; 0 during a warm-up.
    """

    ids: Tensor
    weights: Tensor
    self_mass: Tensor
    doubted: Tensor
    active_weight: Tensor

    @classmethod
    def one_hot(cls, num_samples: int, neighbors: int, weight: float) -> "Rows":
        """Rows in shared memory whose samples are their own only neighbour."""
        rows = cls(
            ids=torch.full((num_samples, neighbors), UNFILLED, dtype=torch.int32),
            weights=torch.zeros(num_samples, neighbors),
            self_mass=torch.ones(num_samples),
            doubted=torch.zeros(num_samples, neighbors, dtype=torch.bool),
            active_weight=torch.tensor(float(weight)),
        )
        for part in vars(rows).values():
            part.share_memory_()
        return rows

    def entropy(self) -> Tensor:
        """Entropy (N,) of each row in nats, its self mass included."""
        of_neighbors: Tensor = torch.special.entr(self.weights).sum(dim=1)
        of_itself: Tensor = torch.special.entr(self.self_mass)
        return of_neighbors + of_itself

    def sample(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw j ~ (1 - w (1 - m)) onehot(i) + w (1 - m) row / |row| for each i.

        A doubted neighbour that is drawn gives way to i itself.

        Args:
            index: (B,) int64.
            generator: Generator of the draws; torch's default one when not given.

        Returns:
            (B,) int64.
        """
        if generator is not None:
            check_type("generator", generator, torch.Generator)
        leaves, which = torch.rand(2, len(index), generator=generator)
        cumulative = self.weights[index].cumsum(dim=1)
        total = cumulative[:, -1]
        slot = (cumulative < (which * total)[:, None]).sum(dim=1)
        partner = self.ids[index, slot].long()
        moves = leaves < self.active_weight * (1 - self.self_mass[index])
        # Another process may be writing the row: an unfilled slot is never followed.
        moves &= (partner != UNFILLED) & ~self.doubted[index, slot]
        return torch.where(moves, partner, index)


def response(similarities: Tensor, temperature: float) -> Tensor:
    """q = softmax(similarities / tau) (B, k); 0 where there is no neighbour.

    Args:
        similarities: (B, k), -inf where there is no neighbour.
        temperature: tau.
    """
    q = torch.softmax(similarities / temperature, dim=1)
    return q.masked_fill(similarities == -torch.inf, 0)


def mix_rows(
    ids: Tensor,
    weights: Tensor,
    self_mass: Tensor,
    new_ids: Tensor,
    new_weights: Tensor,
    coupling: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """p <- (1 - a) p + a q, truncated to the k heaviest neighbours.

    The mass that truncation cuts off goes to the neighbours that are kept, in
    proportion to their weights.

    Args:
        ids: (B, k), unique in a row.
        weights: (B, k), p of the neighbours.
        self_mass: (B,), p of the sample itself, of which q has none.
        new_ids: (B, k), unique in a row.
        new_weights: (B, k), q; a row sums to 1.
        coupling: a, in (0, 1].

    Returns:
        ids (B, k), weights (B, k), heaviest first, and self mass (B,).
    """
    same = (ids[:, :, None] == new_ids[:, None, :]) & (ids != UNFILLED)[:, :, None]
    kept = (1 - coupling) * weights
    added = coupling * new_weights
    kept = kept + (same * added[:, None, :]).sum(dim=2)
    added = added.masked_fill(same.any(dim=1), 0)
    mixed, order = torch.cat([kept, added], dim=1).topk(ids.shape[1], dim=1)
    mixed_ids = torch.cat([ids, new_ids], dim=1).gather(1, order)
    # The sum is set, not carried over: rounding would add up from step to step.
    self_mass = (1 - coupling) * self_mass
    total = mixed.sum(dim=1).clamp_min(torch.finfo(mixed.dtype).tiny)
    mixed = mixed * ((1 - self_mass) / total)[:, None]
    return mixed_ids.masked_fill(mixed == 0, UNFILLED), mixed, self_mass
