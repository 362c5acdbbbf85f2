"""How far a field's partners deserve to be followed, estimated without labels.

Two kinds of evidence are weighed. The encoder has an opinion of every neighbour that
was given to it: is the neighbour nearer than those of other samples? And the graph has
one of itself: an edge that is not returned leads to a hub, which is near to everyone.
"""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from rkdo_plugin.options import check_range

if TYPE_CHECKING:
    from rkdo_plugin.field.response_field import ResponseField

AUTO: Literal["auto"] = "auto"
UNKNOWN = 0.5**0.5  # agreement before there is any evidence: a weight of a half
HUBS = 0.15  # share of returned edges where trust begins; it is whole at twice as many
REFERENCES = 256  # samples, at most, with whose neighbours one is compared
CHUNK = 2**16  # samples whose neighbours' rows are in memory at a time


def check_weight(weight: float | Literal["auto"]) -> None:
    """Raise an error if a field's weight is neither in [0, 1] nor "auto"."""
    if weight != AUTO:
        check_range("field_weight", weight, 0, 1)


def agreement(anchors: Tensor, neighbors: Tensor) -> Tensor:
    r"""How much nearer each anchor's neighbour is than the others' neighbours are.

        A_i = 2 P_j(cos(f_i, f_n(i)) > cos(f_i, f_n(j))) - 1,    j != i

    n(i) is the neighbour of i; equal similarities count half. It is 0 on average where
    neighbours are random, or the same for all, and 1 where each is nearer than all
    others. With more than 256 anchors j are every second, every third and so on.

    Args:
        anchors: (B, D) unit vectors.
        neighbors: (B, D) unit vectors, one neighbour of each anchor.

    Returns:
        (B,) float32, in [-1, 1]; 0 for a single anchor.

    Example:
        >>> anchors = torch.eye(3)
        >>> agreement(anchors, anchors), agreement(anchors, anchors[[0, 0, 0]])
        (tensor([1., 1., 1.]), tensor([0., 0., 0.]))
    """
    neighbors = neighbors.to(anchors.dtype)
    step = max(1, -(-len(anchors) // REFERENCES))
    similarities = anchors @ neighbors[::step].T
    own = (anchors * neighbors).sum(dim=1, keepdim=True)
    # A sample's own column counts as equal, whatever the rounding of its product.
    itself = torch.arange(0, len(anchors), step, device=anchors.device)
    similarities[itself, itself // step] = own[itself, 0]
    nearer = (own > similarities).sum(dim=1) - (own < similarities).sum(dim=1)
    others = torch.full_like(own[:, 0], similarities.shape[1])
    others[itself] -= 1
    return nearer / others.clamp_min(1)


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


def trust_of(agreed: float, share: float) -> float:
    r"""The weight that the evidence supports.

        T = max(0, A)^2 min(1, max(0, (M - 0.15) / 0.15))

    A is a rank correlation, and its square the share that the neighbours explain.

    Args:
        agreed: A, the encoder's mean agreement with the neighbours it was given.
        share: M, the share of their edges that are returned. Up to 0.15 most edges lead
            to hubs; from 0.3 on few do.

    Returns:
        T in [0, 1].

    Example:
        >>> trust_of(0.5, 0.5), trust_of(0.5, 0.1), round(trust_of(0.5, 0.225), 6)
        (0.25, 0.0, 0.125)
    """
    return max(0.0, agreed) ** 2 * min(1.0, max(0.0, share / HUBS - 1))


class Evidence(nn.Module):
    """What is known of the neighbours that a field was given.

    Attributes:
        agreed: (2,) float64, the sum of the encoder's agreement over about one pass of
            the data, and the number of samples in it.
        returned: () float64, the share of the given edges that are returned.
    """

    agreed: Tensor
    returned: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("agreed", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("returned", torch.zeros((), dtype=torch.float64))

    def restart(self, ids: Tensor) -> None:
        """Begin anew with the given edges (N, k)."""
        self.agreed.zero_()
        self.returned.fill_(returned_share(ids))

    def add(self, agreed: Tensor, share_of_pass: float) -> None:
        """Add agreement (B,), and forget that share of the pass before."""
        sums = torch.stack([agreed.sum(), torch.tensor(float(len(agreed)))])
        self.agreed.mul_(1 - share_of_pass).add_(sums)

    @property
    def agreement(self) -> float | None:
        """The encoder's mean agreement A; None before any evidence."""
        total, count = self.agreed.tolist()
        return float(total / count) if count else None

    @property
    def trust(self) -> float:
        """What `trust_of` makes of it."""
        agreed = self.agreement
        return trust_of(UNKNOWN if agreed is None else agreed, float(self.returned))


def judge(field: "ResponseField", samples: Tensor, latest: Tensor) -> None:
    """Let the encoder judge one neighbour of each sample, every update another one.

    Args:
        field: The field, which has stored the embeddings.
        samples: (B,) int64, unique.
        latest: (B, D) unit vectors, the samples' embeddings.
    """
    samples, slot = samples.cpu(), int(field.updates) % field.neighbors
    neighbors = field.ids[samples, slot].long()
    rows = neighbors.clamp_min(0).to(field.valid.device)
    known = (neighbors >= 0) & field.valid[rows].cpu()
    if int(known.sum()) < 2:
        return  # there is nothing to compare with
    here = known.to(latest.device)
    agreed = agreement(latest[here], field.embeddings[rows[here]]).cpu()
    samples = samples[known]
    field.evidence.add(
        field.prior_share[samples] * agreed, len(samples) / field.num_samples
    )
    if field.field_weight == AUTO:
        back = returned(field.ids, samples)[:, slot]
        field.doubted[samples, slot] = (agreed < 0) & ~back
        field.follow()
