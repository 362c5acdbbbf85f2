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
        anchor_ids: (A, 2), the samples of each anchor and of its positive; None where
            every sample is taken to occur once.
        candidate_ids: (C,), the samples of the candidates.
    """

    anchors: Tensor
    candidates: Tensor
    positive: Tensor
    itself: Tensor | None
    anchor_ids: Tensor | None = None
    candidate_ids: Tensor | None = None

    def exclude(self, logits: Tensor, rows: slice) -> None:
        """Set the logits (R, C) of no candidates so low that their probability is 0.

        No candidate is an anchor's own, nor another copy of its sample or its
        positive's. Finite, unlike -inf: 0 times it is 0, also after a division by a
        temperature.
        """
        lowest = -(torch.finfo(logits.dtype).max ** 0.5)
        if self.itself is not None:
            logits.scatter_(1, self.itself[rows], lowest)
        copies = self._copies(rows)
        if copies is not None:
            logits.masked_fill_(copies, lowest)

    def _copies(self, rows: slice) -> Tensor | None:
        """Which candidates (R, C) show the sample of the anchor or of its positive."""
        if self.anchor_ids is None or self.candidate_ids is None:
            return None
        samples, of_positive = torch.split(self.anchor_ids[rows], 1, dim=1)
        copies = torch.eq(self.candidate_ids, samples)
        copies |= torch.eq(self.candidate_ids, of_positive)
        return copies.scatter_(1, self.positive[rows], False)

    def target(self, rows: slice, debias: float) -> Tensor:
        """p(j|i) = (1 - debias) 1[j is the other view of i] + debias / n, as (R, C).

        The n candidates do not count the excluded ones, which get no mass.
        """
        positive = self.positive[rows]
        p = self.anchors.new_ones(len(positive), len(self.candidates))
        if self.itself is not None:
            p.scatter_(1, self.itself[rows], 0)
        copies = self._copies(rows)
        if copies is not None:
            p.masked_fill_(copies, 0)
        p.mul_(debias / p.sum(dim=1, keepdim=True))
        return p.scatter_add_(1, positive, p.new_full(positive.shape, 1 - debias))

    def subtract_one_hot(self, q: Tensor, rows: slice) -> Tensor:
        """Overwrite q (R, C) by q - 1[j is the other view of i]."""
        positive = self.positive[rows]
        return q.scatter_add_(1, positive, q.new_full(positive.shape, -1))


SampleIds = tuple[Tensor, Tensor]
"""Which sample each row of two views (B, D) shows: (B,) and (B,), integers."""


def pair_views(
    z0: Tensor,
    z1: Tensor,
    candidates: str,
    gather: bool,
    sample_ids: SampleIds | None = None,
) -> Pairs:
    """Pair two views' embeddings, across all processes where asked for.

    Args:
        z0: (B, D), the first view.
        z1: (B, D), the second view.
        candidates: "all": both views are anchors and candidates of each other, without
            the anchor itself (2B - 1). "cross": the first view's anchors against the
            second view (B).
        gather: Take the candidates from all processes.
        sample_ids: Other copies of an anchor's sample, or of its positive's, are no
            candidates; when not given, every sample is taken to occur once.
    """
    gather = gather and dist.world_size() > 1
    own = torch.arange(len(z0), device=z0.device)[:, None]
    all_z0, all_z1 = z0, z1
    if gather:
        own = own + dist.rank() * len(z0)
        all_z1 = _of_all_processes(z1)
        if candidates == "all":
            all_z0 = _of_all_processes(z0)
    if len(all_z1) < 2:
        raise ValueError(
            "Expected a batch of at least 2 samples, which the loss tells apart, "
            f"but got {len(all_z1)}"
        )
    anchor_ids = candidate_ids = None
    if sample_ids is not None:
        ids0, ids1 = sample_ids
        all_ids = [_of_all_processes(ids) if gather else ids for ids in sample_ids]
        anchor_ids = torch.stack([ids0, ids1], dim=1)
        candidate_ids = all_ids[1]
        if candidates == "all":
            anchor_ids = torch.cat([anchor_ids, anchor_ids.flip(1)])
            candidate_ids = torch.cat(all_ids)
    if candidates == "cross":
        return Pairs(z0, all_z1, own, None, anchor_ids, candidate_ids)
    other = own + len(all_z0)
    anchors = torch.cat([z0, z1])
    return Pairs(
        anchors=anchors,
        candidates=anchors if all_z1 is z1 else torch.cat([all_z0, all_z1]),
        positive=torch.cat([other, own]),
        itself=torch.cat([own, other]),
        anchor_ids=anchor_ids,
        candidate_ids=candidate_ids,
    )


def _of_all_processes(rows: Tensor) -> Tensor:
    gathered: Tensor = torch.cat(dist.gather(rows.contiguous()))
    return gathered
