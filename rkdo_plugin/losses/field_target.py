"""Equation (3) read literally: the response field's row as an anchor's soft target."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rkdo_plugin.factors import unit_rows
from rkdo_plugin.field.embeddings import checked_index
from rkdo_plugin.field.response_field import ResponseField
from rkdo_plugin.field.rows import UNFILLED
from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.losses.learned import Learned
from rkdo_plugin.options import check_type
from rkdo_plugin.rowwise import chunks
from rkdo_plugin.supervision import Target
from rkdo_plugin.supervision.comparison import Comparison, SampleIds, lowest


class FieldTargetLoss(nn.Module):
    r"""RKDO over the whole training: the rows of a response field are the targets.

        L       = 1/n sum_i KL(p~(.|i) || q(.|i))
        p~(.|i) = (1 - w (1 - m_i)) 1[positive] + w (1 - m_i) row_i / sum(row_i)
        q(j|i)  = softmax_j(cos(f_i, f_j) / tau),    j in the batch or in the row

    The recursion runs in the field, whose coupling it follows. This loss is offered for
    fidelity to equation (3), and is not recommended. It brought no gain even with rows
    that an oracle filled: stored embeddings carry no gradient, are stale and are near
    already. Partners that `FieldPairs` draws brought a gain, with any criterion.

    Args:
        field: Holds the samples' rows, and the embeddings that were seen last.
        temperature: tau, positive.
        candidates: "cross": the other view only (B); "all": both views without the
            anchor itself (2B - 1).
        symmetric: With "cross", average over both directions.
        gather_distributed: Take candidates from all processes.

    Raises:
        ValueError: An option is outside its range.

    Example:
        >>> field = ResponseField(num_samples=100, dim=16)
        >>> criterion, samples = FieldTargetLoss(field, 0.2), torch.arange(8)
        >>> z0, z1 = torch.randn(2, 8, 16).unbind()
        >>> loss = criterion(z0, z1, sample_ids=(samples, samples))
        >>> torch.allclose(loss, IConLoss(0.2, candidates="cross")(z0, z1))  # one-hot
        True

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, equations (1) and (3).
    """

    def __init__(
        self,
        field: ResponseField,
        temperature: float = 0.5,
        candidates: str = "cross",
        symmetric: bool = False,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        check_type("field", field, ResponseField)
        # In a tuple, so that it is no submodule: FieldCallback saves the field, and the
        # recipe must not save it again.
        self._field = (field,)
        self.pairs = IConLoss(
            temperature,
            candidates=candidates,
            symmetric=symmetric,
            gather_distributed=gather_distributed,
        )

    def forward(
        self, z0: Tensor, z1: Tensor, *, sample_ids: SampleIds | None = None
    ) -> Tensor:
        """The loss of two views' embeddings (scalar, nats); any may be detached.

        Args:
            z0: (B, D), any floating dtype.
            z1: (B, D), the other view.
            sample_ids: Which sample each row of `z0` and of `z1` shows, (B,) integers
                each. `FieldCallback` gives them.

        Raises:
            ValueError: There are no `sample_ids`, or as in `IConLoss.forward`.
        """
        if sample_ids is None:
            raise ValueError(
                "Expected `sample_ids`, whose rows of the field are the targets, but "
                "got none; add FieldCallback(field) to the Trainer, or pass them"
            )
        return self.pairs.mean_over_directions(
            self._divergence, z0, z1, None, sample_ids
        )

    @property
    def field(self) -> ResponseField:
        """The response field whose rows are the targets."""
        return self._field[0]

    def _divergence(self, p: Target, q: Learned) -> Tensor:
        return field_target_divergence(q.comparison, self.field, q.temperature)


def field_target_divergence(
    pairs: Comparison, field: ResponseField, temperature: float
) -> Tensor:
    """Mean over anchors of KL(p~ || q), with the row's stored embeddings as candidates.

    A neighbour in the row that was never embedded does not count. One that is the
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
    checked_index(of_positive, field.num_samples)  # `target` checks the anchors
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
    # Rounding may leave less than nothing, whose entropy would be infinite.
    p_positive = (1 - p_bank.sum(dim=1, keepdim=True)).clamp_min(0)

    def divergence(
        anchors: Tensor, candidates: Tensor, stored: Tensor, rows: slice
    ) -> Tensor:
        logits = anchors @ candidates.T / temperature
        pairs.exclude(logits, rows)
        absent = lowest(logits.dtype)
        neighbours = torch.zeros_like(logits, dtype=torch.bool)
        for slot in range(ids.shape[1]):
            neighbours |= pairs.candidate_ids == ids[rows, slot, None]
        neighbours.scatter_(1, positive[rows], False)
        logits = logits.masked_fill(neighbours, absent)
        bank = torch.einsum("rd,rkd->rk", anchors, stored) / temperature
        bank = bank.masked_fill(~counts[rows], absent)
        log_q = torch.log_softmax(torch.cat([logits, bank], dim=1), dim=1)
        at_positive = log_q.gather(1, positive[rows])
        at_bank = log_q[:, logits.shape[1] :]
        cross = p_positive[rows] * at_positive
        cross = cross.sum(dim=1) + (p_bank[rows] * at_bank).sum(dim=1)
        entropy = torch.special.entr(p_positive[rows]).sum(dim=1)
        entropy = entropy + torch.special.entr(p_bank[rows]).sum(dim=1)
        value: Tensor = -cross - entropy
        return value

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
        for rows in chunks(len(anchors), len(candidates), anchors.device)
    ]
    return torch.cat(values).mean()
