"""Equation (3) read literally: the response field's row as an anchor's soft target."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rkdo_plugin.factors import unit_rows
from rkdo_plugin.field.response_field import ResponseField
from rkdo_plugin.field.rows import UNFILLED
from rkdo_plugin.supervision.comparison import Comparison

CHUNK = 2**18  # logits in memory at a time


def field_target_loss(
    pairs: Comparison, field: ResponseField, temperature: float
) -> Tensor:
    """Mean over anchors of KL(p~ || q), with the row's stored embeddings as candidates.

        p~(.|i) = (1 - w (1 - m_i)) 1[positive] + w (1 - m_i) row_i / sum(row_i)
        q(j|i)  = softmax_j(cos(f_i, f_j) / tau), j in the batch or in the row

    Of the row's neighbours, one that was never embedded does not count. One that is the
    anchor's positive counts there, with gradient, and its stored embedding does not.
    Where another neighbour is in the batch as well, its embedding there is no
    candidate: it would be pushed away from what it is pulled to.

    Args:
        pairs: Anchors (A, D) and candidates (C, D) with the ids of their samples.
        field: Holds the samples' rows.
        temperature: tau.
    """
    assert pairs.anchor_ids is not None
    assert pairs.candidate_ids is not None
    assert pairs.positive is not None
    positive = pairs.positive
    anchors, candidates = unit_rows(pairs.anchors), unit_rows(pairs.candidates)
    samples, of_positive = pairs.anchor_ids.unbind(dim=1)
    ids, weights, self_mass = (row.to(anchors.device) for row in field.target(samples))
    slots = ids.clamp_min(0)
    positive_slot = ids == of_positive[:, None]
    stored = field.embeddings[slots.to(field.embeddings.device)].to(anchors)
    seen = field.valid[slots.to(field.valid.device)].to(ids.device)
    usable = (ids != UNFILLED) & (seen | positive_slot)
    counts = usable & ~positive_slot
    weights = (weights * usable).to(anchors.dtype)
    total = weights.sum(dim=1, keepdim=True)
    moved = (field.active_weight.to(anchors) * (1 - self_mass.to(anchors)))[:, None]
    p_row = torch.where(total > 0, moved * weights / total, torch.zeros_like(weights))
    p_bank = p_row * counts
    p_positive = 1 - p_bank.sum(dim=1, keepdim=True)

    def divergence(
        anchors: Tensor, candidates: Tensor, stored: Tensor, rows: slice
    ) -> Tensor:
        logits = anchors @ candidates.T / temperature
        pairs.exclude(logits, rows)
        lowest = -(torch.finfo(logits.dtype).max ** 0.5)
        neighbours = torch.zeros_like(logits, dtype=torch.bool)
        for slot in range(ids.shape[1]):
            neighbours |= pairs.candidate_ids == ids[rows, slot, None]
        neighbours.scatter_(1, positive[rows], False)
        logits = logits.masked_fill(neighbours, lowest)
        bank = torch.einsum("rd,rkd->rk", anchors, stored) / temperature
        bank = bank.masked_fill(~counts[rows], lowest)
        log_q = torch.log_softmax(torch.cat([logits, bank], dim=1), dim=1)
        at_positive = log_q.gather(1, positive[rows])
        at_bank = log_q[:, logits.shape[1] :]
        cross = p_positive[rows] * at_positive
        cross = cross.sum(dim=1) + (p_bank[rows] * at_bank).sum(dim=1)
        entropy = torch.special.entr(p_positive[rows]).sum(dim=1)
        entropy = entropy + torch.special.entr(p_bank[rows]).sum(dim=1)
        value: Tensor = -cross - entropy
        return value

    step = max(1, CHUNK // len(candidates))
    values = [
        # Computed again in backward: memory is O(chunk x C), not A x C.
        checkpoint(
            divergence,
            anchors[rows],
            candidates,
            stored[rows],
            rows,
            use_reentrant=False,
        )
        for rows in (
            slice(start, min(start + step, len(anchors)))
            for start in range(0, len(anchors), step)
        )
    ]
    return torch.cat(values).mean()
