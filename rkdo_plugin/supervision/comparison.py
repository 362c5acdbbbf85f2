"""Who is compared with whom: anchors, their candidates, and which are excluded."""

from dataclasses import dataclass

import torch
from lightly.utils import dist
from torch import Tensor

CANDIDATES = ("all", "cross", "with_self")

SampleIds = tuple[Tensor, Tensor]
"""Which sample each row of two views (B, D) shows: (B,) and (B,), integers."""


def lowest(dtype: torch.dtype) -> float:
    """The logit of what is no candidate: its probability is 0.

    It is finite, unlike -inf: 0 times it is 0, also after a division by a temperature.
    """
    return float(-(torch.finfo(dtype).max ** 0.5))


@dataclass(frozen=True)
class Comparison:
    """Anchors and the candidates they are compared with.

    Attributes:
        anchors: (A, D).
        candidates: (C, D).
        positive: (A, 1), the column of each anchor's other view; None where there is
            one view.
        itself: (A, 1), the column of the anchor itself; None where it has none.
        excludes_itself: Whether the anchor itself is excluded from the candidates.
        anchor_ids: (A, 2), the samples of each anchor and of its positive; None where
            every sample is taken to occur once.
        candidate_ids: (C,), the samples of the candidates.
        anchor_views: Number of times that each sample is among the anchors.
        candidate_views: Number of times that each sample is among the candidates.
        gathered: Whether the candidates are those of all processes.
    """

    anchors: Tensor
    candidates: Tensor
    positive: Tensor | None = None
    itself: Tensor | None = None
    excludes_itself: bool = False
    anchor_ids: Tensor | None = None
    candidate_ids: Tensor | None = None
    anchor_views: int = 1
    candidate_views: int = 1
    gathered: bool = False

    def exclude(self, values: Tensor, rows: slice, fill: float | None = None) -> None:
        """Set the logits (R, C) of what is excluded so low that its probability is 0.

        Excluded are the anchor itself, if `excludes_itself`, and other copies of its
        sample or of its positive's sample. With `fill` they are set to that value.
        """
        value = lowest(values.dtype) if fill is None else fill
        if self.excludes_itself and self.itself is not None:
            values.scatter_(1, self.itself[rows], value)
        copies = self._copies(rows)
        if copies is not None:
            values.masked_fill_(copies, value)

    def _copies(self, rows: slice) -> Tensor | None:
        """Which candidates (R, C) show the sample of the anchor or of its positive."""
        if self.anchor_ids is None or self.candidate_ids is None:
            return None
        assert self.positive is not None
        samples, of_positive = torch.split(self.anchor_ids[rows], 1, dim=1)
        copies = torch.eq(self.candidate_ids, samples)
        copies |= torch.eq(self.candidate_ids, of_positive)
        copies.scatter_(1, self.positive[rows], False)
        if self.itself is not None and not self.excludes_itself:
            copies.scatter_(1, self.itself[rows], False)
        return copies

    def allowed(self, rows: slice) -> Tensor:
        """1 for every candidate of the rows' anchors, 0 for the excluded: (R, C)."""
        ones = self.anchors.new_ones(len(self.anchors[rows]), len(self.candidates))
        self.exclude(ones, rows, fill=0)
        return ones

    def of_anchors(self, of_samples: Tensor) -> Tensor:
        """Values of this process's samples (B, ...), for each anchor (A, ...)."""
        return torch.cat([of_samples] * self.anchor_views)

    def of_candidates(self, of_samples: Tensor) -> Tensor:
        """Values of this process's samples (B, ...), for each candidate (C, ...)."""
        if self.gathered:
            of_samples = of_all_processes(of_samples)
        return torch.cat([of_samples] * self.candidate_views)

    def of_all(self, of_anchors: Tensor) -> Tensor:
        """Values of the anchors (A, ...); those of all processes where gathered."""
        return of_all_processes(of_anchors) if self.gathered else of_anchors

    @property
    def num_anchors(self) -> int:
        """Number of anchors, of all processes where gathered."""
        return len(self.anchors) * (dist.world_size() if self.gathered else 1)


def compare_views(
    z0: Tensor,
    z1: Tensor,
    candidates: str,
    gather: bool,
    sample_ids: SampleIds | None = None,
) -> Comparison:
    """Compare the embeddings of two views.

    Args:
        z0: (B, D), the first view.
        z1: (B, D), the second view.
        candidates: "all": both views are anchors and candidates of each other, without
            the anchor itself (2B - 1); "with_self": with it (2B). "cross": the first
            view's anchors against the second view (B).
        gather: Take the candidates from all processes.
        sample_ids: Other copies of an anchor's sample, or of its positive's, are no
            candidates. When not given, every sample is taken to occur once.

    Raises:
        ValueError: The shapes differ, or there are fewer than 2 samples.
    """
    check_one_shape(z0, z1)
    gather = gather and dist.world_size() > 1
    own = _own_columns(z0, gather)
    all_z0, all_z1 = z0, z1
    if gather:
        all_z1 = of_all_processes(z1)
        if candidates != "cross":
            all_z0 = of_all_processes(z0)
    _check_several(len(all_z1))
    anchor_ids = candidate_ids = None
    if sample_ids is not None:
        ids0, ids1 = sample_ids
        all_ids = [of_all_processes(ids) if gather else ids for ids in sample_ids]
        anchor_ids = torch.stack([ids0, ids1], dim=1)
        candidate_ids = all_ids[1]
        if candidates != "cross":
            anchor_ids = torch.cat([anchor_ids, anchor_ids.flip(1)])
            candidate_ids = torch.cat(all_ids)
    if candidates == "cross":
        return Comparison(
            z0,
            all_z1,
            positive=own,
            anchor_ids=anchor_ids,
            candidate_ids=candidate_ids,
            gathered=gather,
        )
    other = own + len(all_z0)
    anchors = torch.cat([z0, z1])
    return Comparison(
        anchors=anchors,
        candidates=anchors if all_z1 is z1 else torch.cat([all_z0, all_z1]),
        positive=torch.cat([other, own]),
        itself=torch.cat([own, other]),
        excludes_itself=candidates == "all",
        anchor_ids=anchor_ids,
        candidate_ids=candidate_ids,
        anchor_views=2,
        candidate_views=2,
        gathered=gather,
    )


def compare_samples(z: Tensor, candidates: str, gather: bool) -> Comparison:
    """Compare the embeddings (B, D) of one view with each other.

    Args:
        z: (B, D).
        candidates: "all": without the anchor itself (B - 1); "with_self": with it (B).
        gather: Take the candidates from all processes.

    Raises:
        ValueError: There are fewer than 2 samples, or candidates are "cross".
    """
    if candidates == "cross":
        raise ValueError(
            "Expected two views with candidates='cross', which compares one with the "
            "other, but got one"
        )
    gather = gather and dist.world_size() > 1
    all_z = of_all_processes(z) if gather else z
    _check_several(len(all_z))
    return Comparison(
        z,
        all_z,
        itself=_own_columns(z, gather),
        excludes_itself=candidates == "all",
        gathered=gather,
    )


def compare_prototypes(
    features: Tensor, prototypes: Tensor | None, gather: bool
) -> Comparison:
    """Compare features (B, D) with prototypes (C, D) of classes.

    Args:
        features: (B, D).
        prototypes: (C, D), the same in all processes.
        gather: Average over the anchors of all processes.

    Raises:
        ValueError: There are no features or no prototypes.
    """
    if prototypes is None or len(features) == 0:
        got = "no prototypes" if prototypes is None else "no features"
        raise ValueError(
            "Expected features (B, D) and prototypes (C, D) of the classes but got "
            f"{got}"
        )
    return Comparison(features, prototypes, gathered=gather and dist.world_size() > 1)


def check_one_shape(z0: Tensor, z1: Tensor) -> None:
    """Raise a ValueError unless two views have one shape."""
    if z0.shape != z1.shape:
        raise ValueError(
            "Expected `z0` and `z1` to have one shape (B, D) but got "
            f"{tuple(z0.shape)} and {tuple(z1.shape)}"
        )


def of_all_processes(rows: Tensor) -> Tensor:
    """Rows (B, ...) of every process, in the order of their ranks."""
    gathered: Tensor = torch.cat(dist.gather(rows.contiguous()))
    return gathered


def _own_columns(z: Tensor, gathered: bool) -> Tensor:
    first = dist.rank() * len(z) if gathered else 0
    return torch.arange(first, first + len(z), device=z.device)[:, None]


def _check_several(samples: int) -> None:
    if samples < 2:
        raise ValueError(
            "Expected a batch of at least 2 samples, which the loss tells apart, "
            f"but got {samples}"
        )
