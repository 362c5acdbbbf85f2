"""What should be a neighbour of what: p(j|i) over the candidates of an anchor."""

from dataclasses import dataclass

import torch
from lightly.utils import dist
from torch import Tensor

CANDIDATES = ("all", "cross")


@dataclass(frozen=True)
class Pairs:
    """Anchors, the candidates they are compared with, and who is whose other view.

    Attributes:
        anchors: (A, D).
        candidates: (C, D).
        positive: (A, 1), the column of each anchor's other view.
        itself: (A, 1), the column of the anchor itself; None where it is no candidate.
    """

    anchors: Tensor
    candidates: Tensor
    positive: Tensor
    itself: Tensor | None

    def exclude_itself(self, logits: Tensor, rows: slice) -> None:
        """Set each anchor's logit (R, C) of itself so low that its probability is 0.

        Finite, unlike -inf: 0 times it is 0, also after a division by a temperature.
        """
        if self.itself is not None:
            lowest = -(torch.finfo(logits.dtype).max ** 0.5)
            logits.scatter_(1, self.itself[rows], lowest)

    def target(self, rows: slice, debias: float) -> Tensor:
        """p(j|i) = (1 - debias) 1[j is the other view of i] + debias / n, as (R, C).

        The n candidates do not count the anchor itself, which gets no mass.
        """
        count = len(self.candidates) - (self.itself is not None)
        positive = self.positive[rows]
        p = self.anchors.new_full((len(positive), len(self.candidates)), debias / count)
        if self.itself is not None:
            p.scatter_(1, self.itself[rows], 0)
        return p.scatter_add_(1, positive, p.new_full(positive.shape, 1 - debias))

    def subtract_one_hot(self, q: Tensor, rows: slice) -> Tensor:
        """Overwrite q (R, C) by q - 1[j is the other view of i]."""
        positive = self.positive[rows]
        return q.scatter_add_(1, positive, q.new_full(positive.shape, -1))


def pair_views(z0: Tensor, z1: Tensor, candidates: str, gather: bool) -> Pairs:
    """Pair two views' embeddings, across all processes where asked for.

    Args:
        z0: (B, D), the first view.
        z1: (B, D), the second view.
        candidates: "all": both views are anchors and candidates of each other, without
            the anchor itself (2B - 1). "cross": the first view's anchors against the
            second view (B).
        gather: Take the candidates from all processes.
    """
    own = torch.arange(len(z0), device=z0.device)[:, None]
    all_z0, all_z1 = z0, z1
    if gather and dist.world_size() > 1:
        own = own + dist.rank() * len(z0)
        all_z1 = torch.cat(dist.gather(z1.contiguous()))
        if candidates == "all":
            all_z0 = torch.cat(dist.gather(z0.contiguous()))
    if len(all_z1) < 2:
        raise ValueError(
            "Expected a batch of at least 2 samples, which the loss tells apart, "
            f"but got {len(all_z1)}"
        )
    if candidates == "cross":
        return Pairs(z0, all_z1, own, None)
    other = own + len(all_z0)
    anchors = torch.cat([z0, z1])
    return Pairs(
        anchors=anchors,
        candidates=anchors if all_z1 is z1 else torch.cat([all_z0, all_z1]),
        positive=torch.cat([other, own]),
        itself=torch.cat([own, other]),
    )
