"""How far a field's partners deserve to be followed, estimated without labels.

A partner takes the place of a sample's own second view. So the encoder is asked whether
the given neighbours are as near as that view, and the graph whether its edges are
returned: an edge that is not leads to a hub, which is near to everyone.
"""

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from rkdo_plugin.options import check_range

if TYPE_CHECKING:
    from rkdo_plugin.field.response_field import ResponseField

AUTO: Literal["auto"] = "auto"
UNKNOWN = 0.5  # closeness before there is any evidence
HUBS = 0.15  # share of returned edges where trust begins; it is whole at twice as many
REFERENCES = 256  # samples, at most, with whose neighbours one is compared
CHUNK = 2**16  # samples whose neighbours' rows are in memory at a time


def check_weight(weight: float | Literal["auto"]) -> None:
    """Raise an error if a field's weight is neither in [0, 1] nor "auto"."""
    if weight != AUTO:
        check_range("field_weight", weight, 0, 1)


def similarities(anchors: Tensor, neighbors: Tensor) -> tuple[Tensor, Tensor]:
    r"""How near each anchor is to its own neighbour, and to the others' neighbours.

        cos(f_i, f_n(i)),   mean_j cos(f_i, f_n(j)),   j != i

    n(i) is the neighbour of i. The two are equal on average where neighbours are
    random, and always where all have the same one. With more than 256 anchors j are
    every second, every third and so on.

    Args:
        anchors: (B, D) unit vectors, or means of several; B is at least 2.
        neighbors: (B, D) unit vectors, one neighbour of each anchor.

    Returns:
        own (B,) and others (B,), float32 in [-1, 1].

    Example:
        >>> anchors = torch.eye(3)
        >>> similarities(anchors, anchors)
        (tensor([1., 1., 1.]), tensor([0., 0., 0.]))
    """
    neighbors = neighbors.to(anchors.dtype)
    own = (anchors * neighbors).sum(dim=1)
    step = max(1, -(-len(anchors) // REFERENCES))
    sums = anchors @ neighbors[::step].sum(dim=0)
    count = torch.full_like(own, float(len(neighbors[::step])))
    sums[::step] -= own[::step]
    count[::step] -= 1
    return own, sums / count


def view_similarity(sums: Tensor, counts: Tensor) -> Tensor:
    r"""Mean cosine of two of a sample's embeddings.

        (||z_1 + ... + z_m||^2 - m) / (m (m - 1))

    Args:
        sums: (U, D), the sum of each sample's m unit vectors.
        counts: (U,) m, as floats.

    Returns:
        (V,) in [-1, 1], of the V samples with m of at least 2.

    Example:
        >>> sums = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
        >>> view_similarity(sums, torch.tensor([2.0, 2.0]))
        tensor([1., 0.])
    """
    several = counts > 1
    count = counts[several]
    return (sums[several].square().sum(dim=1) - count) / (count * (count - 1))


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


def trust_of(closeness: float, share: float) -> float:
    r"""The weight that the evidence supports.

        T = C min(1, max(0, (M - 0.15) / 0.15))

    Args:
        closeness: C, how near the given neighbours are, on a scale from other samples'
            neighbours, 0, to a second view of the sample itself, 1.
        share: M, the share of their edges that are returned. Up to 0.15 most edges lead
            to hubs; from 0.3 on few do.

    Returns:
        T in [0, 1].

    Example:
        >>> trust_of(0.8, 0.5), trust_of(0.8, 0.1), round(trust_of(0.8, 0.225), 6)
        (0.8, 0.0, 0.4)
    """
    return closeness * min(1.0, max(0.0, share / HUBS - 1))


class Evidence(nn.Module):
    """What is known of the neighbours that a field was given.

    Attributes:
        nearness: (3,) float64, sums over about one pass of the data: how much nearer
            the given neighbours are than others', how near those are, and the number of
            samples.
        views: (2,) float64, likewise: the similarity of two views of one sample, and
            the number of samples with two.
        returned: () float64, the share of the given edges that are returned.
    """

    nearness: Tensor
    views: Tensor
    returned: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("nearness", torch.zeros(3, dtype=torch.float64))
        self.register_buffer("views", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("returned", torch.zeros((), dtype=torch.float64))

    def restart(self, ids: Tensor) -> None:
        """Begin anew with the given edges (N, k)."""
        self.nearness.zero_()
        self.views.zero_()
        self.returned.fill_(returned_share(ids))

    def add(
        self, nearer: Tensor, others: Tensor, views: Tensor, share_of_pass: float
    ) -> None:
        """Add similarities (B,), (B,), (V,), and forget that share of the pass."""
        for sums, values in ((self.nearness, (nearer, others)), (self.views, (views,))):
            new = [*(value.double().sum().cpu() for value in values)]
            count = torch.tensor(float(len(values[0])), dtype=torch.float64)
            sums.mul_(1 - share_of_pass).add_(torch.stack([*new, count]))

    @property
    def closeness(self) -> float | None:
        r"""Where the given neighbours are between others', 0, and a second view, 1.

            C = (s_n - s_o) / (s_v - s_o), in [0, 1]

        s_n is the mean cosine of a sample and a neighbour that it was given, s_o that
        of a sample and other samples' neighbours, s_v that of two views of a sample, or
        1 where there are no two. None before any evidence.
        """
        nearer, others, count = self.nearness.tolist()
        if not count:
            return None
        similar, pairs = self.views.tolist()
        farthest = (similar / pairs if pairs else 1.0) - others / count
        if farthest <= 0:  # the encoder does not even know a sample again
            return 0.0
        return float(min(1.0, max(0.0, nearer / count / farthest)))

    @property
    def trust(self) -> float:
        """What `trust_of` makes of it."""
        close = self.closeness
        return trust_of(UNKNOWN if close is None else close, float(self.returned))


def judge(
    field: "ResponseField", samples: Tensor, sums: Tensor, counts: Tensor
) -> None:
    """Let the encoder judge one neighbour of each sample, every update another one.

    Args:
        field: The field, which has stored the embeddings.
        samples: (U,) int64, unique.
        sums: (U, D), the sum of each sample's unit vectors.
        counts: (U,) float32, their number.
    """
    views = view_similarity(sums, counts)
    means = sums / counts[:, None]  # its products are the means of the views' cosines
    samples, slot = samples.cpu(), int(field.updates) % field.neighbors
    neighbors = field.ids[samples, slot].long()
    rows = neighbors.clamp_min(0).to(field.valid.device)
    known = (neighbors >= 0) & field.valid[rows].cpu()
    if int(known.sum()) < 2:
        return  # there is nothing to compare with
    here = known.to(means.device)
    near, others = similarities(means[here], field.embeddings[rows[here]])
    nearer, samples = (near - others).cpu(), samples[known]
    field.evidence.add(
        # The encoder is near to what it found itself.
        field.prior_share[samples] * nearer,
        others,
        views,
        len(samples) / field.num_samples,
    )
    if field.field_weight == AUTO:
        back = returned(field.ids, samples)[:, slot]
        field.doubted[samples, slot] = (nearer < 0) & ~back
        field.follow()
