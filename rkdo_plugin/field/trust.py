"""How far a field's partners deserve to be followed, estimated without labels.

A partner takes the place of a sample's own second view. So the encoder is asked whether
the given neighbours pass for such a view, and the graph whether its edges are returned:
an edge that is not leads to a hub, which is near to everyone.
"""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from rkdo_plugin.options import check_range

if TYPE_CHECKING:
    from rkdo_plugin.field.response_field import ResponseField

AUTO: Literal["auto"] = "auto"
HUBS = 0.15  # share of returned edges where trust begins; it is whole at twice as many
ROUNDING = 1e-6  # of similarities
LEAST = 0.01  # difference of 1/2 and P_o that L is divided by
REFERENCES = 256  # samples, at most, with whose neighbours one is compared
CHUNK = 2**16  # samples whose neighbours' rows are in memory at a time


def check_weight(weight: float | Literal["auto"]) -> None:
    """Raise an error if a field's weight is neither in [0, 1] nor "auto"."""
    if weight != AUTO:
        check_range("field_weight", weight, 0, 1)


def nearer_than_itself(
    anchors: Tensor, neighbors: Tensor, before: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Whether neighbours are nearer to each anchor than it is to itself a pass before.

        P_n,i = [cos(f_i, f_n(i)) > cos(f_i, f'_i)]
        P_o,i = mean_j [cos(f_i, f_n(j)) > cos(f_i, f'_i)],    j != i

    n(i) is the neighbour of i, and f'_i another view of i, embedded a pass before.
    Equal similarities count half. With more than 256 anchors j are every second, every
    third and so on.

    Args:
        anchors: (B, D) unit vectors, B at least 2.
        neighbors: (B, D) unit vectors, one neighbour of each anchor.
        before: (B, D) unit vectors, the anchors a pass before.

    Returns:
        own (B,), P_n; others (B,), P_o; and excess (B,), by how much the own neighbour
        is more similar than the others' on average.

    Example:
        >>> x = torch.eye(3)
        >>> nearer_than_itself(x, x, x)
        (tensor([0.5000, 0.5000, 0.5000]), tensor([0., 0., 0.]), tensor([1., 1., 1.]))
    """
    near, similar = _similarities(anchors, neighbors)
    itself = (anchors * before.to(anchors.dtype)).sum(dim=1)
    others = _greater(similar, itself[:, None])
    excess = near - _mean_of_others(similar)
    return _greater(near, itself), _mean_of_others(others), excess


def nearer_than_others(anchors: Tensor, neighbors: Tensor) -> Tensor:
    r"""How much more often neighbours are nearer to each anchor than others' are.

        A_i = 2 mean_j [cos(f_i, f_n(i)) > cos(f_i, f_n(j))] - 1,    j != i

    Arguments and j are those of `nearer_than_itself`.

    Returns:
        A (B,), in [-1, 1].

    Example:
        >>> nearer_than_others(torch.eye(2), torch.eye(2))
        tensor([1., 1.])
    """
    near, similar = _similarities(anchors, neighbors)
    return 2 * _mean_of_others(_greater(near[:, None], similar)) - 1


def _similarities(anchors: Tensor, neighbors: Tensor) -> tuple[Tensor, Tensor]:
    """To the own neighbour (B,), and to those of every step-th sample."""
    neighbors = neighbors.to(anchors.dtype)
    near = (anchors * neighbors).sum(dim=1)
    return near, anchors @ neighbors[:: _step(len(anchors))].T


def _mean_of_others(values: Tensor) -> Tensor:
    """Means over the columns, each sample's own one left out."""
    step = _step(len(values))
    asked = torch.arange(0, len(values), step, device=values.device)
    values[asked, asked // step] = 0
    count = values.new_full((len(values),), float(len(asked)))
    count[asked] -= 1
    return values.sum(dim=1) / count


def _step(anchors: int) -> int:
    return max(1, -(-anchors // REFERENCES))


def _greater(first: Tensor, second: Tensor) -> Tensor:
    """1 where the first is greater, 0.5 where they are equal up to rounding."""
    more = first - second
    return torch.where(more.abs() < ROUNDING, 0.5, (more > 0).float())


def returned(ids: Tensor, index: Tensor) -> Tensor:
    """Which edges i -> j of a graph have an edge j -> i.

    Args:
        ids: (N, k) integers, the neighbours of all samples; -1 where there is none.
        index: (B,) int64, the samples i.

    Returns:
        (B, k) bool, False where there is no edge.

    Example:
        >>> returned(torch.tensor([[1], [0], [0]]), torch.tensor([0, 1, 2]))[:, 0]
        tensor([ True,  True, False])
    """
    neighbors = ids[index].long()
    back = ids[neighbors.clamp_min(0)] == index[:, None, None]
    return back.any(dim=2) & (neighbors >= 0)


def returned_share(ids: Tensor) -> float:
    """The share of a graph's edges (N, k) that are returned; 0 without edges."""
    every = torch.split(torch.arange(len(ids)), CHUNK)
    count = sum(int(returned(ids, index).sum()) for index in every)
    return count / max(1, int((ids >= 0).sum()))


def trust_of(likeness: float, share: float) -> float:
    r"""The weight that the evidence supports.

        T = 2 L / (1 + L) min(1, max(0, (M - 0.15) / 0.15))

    Args:
        likeness: L, how far a given neighbour passes for a second view of the sample.
        share: M, the share of the given edges that are returned. Up to 0.15 most edges
            lead to hubs; from 0.3 on few do.

    Returns:
        T in [0, 1].

    Example:
        >>> trust_of(1.0, 0.5), trust_of(1.0, 0.1), round(trust_of(0.6, 0.225), 6)
        (1.0, 0.0, 0.375)
    """
    return 2 * likeness / (1 + likeness) * min(1.0, max(0.0, share / HUBS - 1))


class Evidence(nn.Module):
    """What is known of the neighbours that a field was given.

    Attributes:
        nearer: (3,) float64, sums over about one pass of the data: how much more often
            the given neighbours are nearer than the sample itself a pass before than
            others' neighbours are, how often those are, and the number of samples.
        ranked: (2,) float64, sums over the first pass, in which no sample was there
            before: how much more often the given neighbours are nearer than others',
            and the number of samples.
        returned: () float64, the share of the given edges that are returned.
    """

    nearer: Tensor
    ranked: Tensor
    returned: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nearer", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("ranked", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("returned", torch.zeros((), dtype=torch.float64))

    def restart(self, ids: Tensor) -> None:
        """Begin anew with the given edges (N, k)."""
        self.nearer.zero_()
        self.ranked.zero_()
        self.returned.fill_(returned_share(ids))

    def rank(self, ahead: Tensor) -> None:
        """Add what was found of samples (B,) that were not there before."""
        sums = [ahead.sum().item(), len(ahead)]
        self.ranked.add_(torch.tensor(sums, dtype=torch.float64))

    def add(self, more: Tensor, others: Tensor, share_of_pass: float) -> None:
        """Add what was found of samples (B,), and forget that share of the pass."""
        sums = [more.sum().item(), others.sum().item(), len(more)]
        self.nearer.mul_(1 - share_of_pass).add_(
            torch.tensor(sums, dtype=torch.float64)
        )

    @property
    def likeness(self) -> float | None:
        r"""How far a given neighbour passes for a second view of the sample.

            L = (P_n - P_o - n^-1/2) / (1/2 - P_o), in [0, 1]

        P_n is the share of samples to which the neighbour is nearer than they were to
        themselves a pass before, which would be one half of second views. P_o is that
        of other samples' neighbours. In the first pass L is the mean of A_i of
        `nearer_than_others`, less n^-1/2. Two standard errors of a share of n samples
        are at most that: what chance alone may have brought is not trusted. None before
        any evidence.
        """
        more, others, count = self.nearer.tolist()
        if not count:
            ahead, ranked = self.ranked.tolist()
            if not ranked:
                return None
            return float(max(0.0, ahead / ranked - ranked**-0.5))
        farthest = 1 / 2 - others / count
        if farthest < LEAST:  # the encoder does not know a sample again
            return 0.0
        return float(min(1.0, max(0.0, (more / count - count**-0.5) / farthest)))

    @property
    def trust(self) -> float:
        """What `trust_of` makes of it; 0 before any evidence."""
        return trust_of(self.likeness or 0.0, float(self.returned))


def judge(field: "ResponseField", samples: Tensor, latest: Tensor) -> None:
    """Let the encoder judge one neighbour of each sample, every update another one.

    Args:
        field: The field, which has not stored the embeddings yet.
        samples: (U,) int64, unique.
        latest: (U, D) unit vectors, the samples' embeddings.
    """
    slot = int(field.updates) % field.neighbors
    neighbors = field.ids[samples.cpu(), slot].long().to(samples.device)
    rows = neighbors.clamp_min(0)
    met = (neighbors >= 0) & field.valid[rows]
    again = met & field.valid[samples]
    first_pass = not field.evidence.nearer[2] and int(again.sum()) < 2
    known = met if first_pass else again
    if int(known.sum()) < 2:
        return  # there is nothing to compare with
    samples, rows, latest = samples[known], rows[known], latest[known]
    here = samples.cpu()
    # An encoder's own neighbours would speak for themselves.
    share = field.prior_share[here]
    if first_pass:
        ahead = nearer_than_others(latest, field.embeddings[rows])
        field.evidence.rank(share * ahead.cpu())
        field.follow()
        return
    own, others, excess = nearer_than_itself(
        latest, field.embeddings[rows], field.embeddings[samples]
    )
    more = share * (own - others).cpu()
    field.evidence.add(more, others, len(here) / field.num_samples)
    if field.field_weight == AUTO:
        back = returned(field.ids, here)[:, slot]
        field.doubted[here, slot] = (excess < 0).cpu() & ~back
        field.follow()
