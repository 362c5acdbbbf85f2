"""One row of I-Con's table: where p comes from, and what q is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from lightly.utils import dist
from torch import Tensor
from torch.nn import functional

from rkdo_plugin.kernels import Kernel
from rkdo_plugin.losses.key_queue import KeyQueue
from rkdo_plugin.rowwise import chunks
from rkdo_plugin.supervision import Classes, Pairs, Supervision, Target
from rkdo_plugin.supervision.comparison import (
    Comparison,
    SampleIds,
    compare_samples,
    compare_views,
)
from rkdo_plugin.supervision.target import debiased, tiny


@dataclass(frozen=True)
class Problem:
    """A batch: p(j|i) of its comparison, and factors of which q(j|i) is made.

    Attributes:
        comparison: Anchors (A, D) and candidates (C, D).
        target: p.
        kernel: s.
        factors: (A, E) and (C, E), whose products the kernel reads.
    """

    comparison: Comparison
    target: Target
    kernel: Kernel
    factors: tuple[Tensor, Tensor]

    def scaled(self, scale: Tensor) -> "Problem":
        """The problem with products times a scale, with gradient."""
        anchors, candidates = self.factors
        return replace(self, factors=(anchors * scale, candidates))

    def log_similarity(self, products: Tensor) -> tuple[Tensor, Tensor | None]:
        """Log s of products (R, C), which it overwrites, and its derivative."""
        return self.kernel.log_similarity(products)

    @property
    def mean_suffices(self) -> bool:
        """Whether a mean over all candidates is all that the rows need."""
        return (
            self.kernel.normalizer == "mean"
            and self.target.column is not None
            and self.target.weight is None
            and not self.comparison.excludes_itself
            and self.comparison.anchor_ids is None
        )

    def joint_target(self, rows: slice) -> Tensor:
        """(p(j|i) + p(i|j)) / 2, which sums to the number of anchors over all pairs."""
        if self.target.transposed is None:
            raise ValueError(
                "Expected one view and supervision 'gaussian' or 'perplexity' with "
                "`joint`, which reads p(i|j) beside p(j|i), but got another"
            )
        return self.target.rows(rows).add_(self.target.transposed(rows)).div_(2)

    def logits(self, log_s: Tensor, temperature: float, rows: slice) -> Tensor:
        """Overwrite log s (R, C) by log s / tau + log w; low where excluded."""
        if temperature != 1:
            log_s.mul_(1 / temperature)
        if self.target.candidate_weight is not None:
            weight = self.target.candidate_weight
            log_s.add_(weight.clamp_min(tiny(weight)).log())
        self.comparison.exclude(log_s, rows)
        return log_s


@dataclass(frozen=True)
class Composition:
    """Makes problems of embeddings.

    Attributes:
        supervision: Gives p.
        kernel: Gives s.
        candidates: "all", "cross" or "with_self".
        debias: Share of p that is spread evenly.
        gather_distributed: Take candidates from all processes.
    """

    supervision: Supervision
    kernel: Kernel
    candidates: str
    debias: float
    gather_distributed: bool

    def problem(
        self,
        z0: Tensor,
        z1: Tensor | None,
        targets: Tensor | None,
        sample_ids: SampleIds | None,
        queue: KeyQueue | None,
    ) -> Problem:
        """The problem of a batch; arguments as of `IConLoss.forward`."""
        if queue is not None and z1 is not None:
            return self._queue_problem(z0, z1, queue)
        comparison = self._comparison(z0, z1, sample_ids)
        target = self.supervision(comparison, targets)
        target = debiased(target, comparison, self.debias)
        factors = self.kernel.factors(
            comparison.anchors, comparison.candidates, target.candidate_weight
        )
        return Problem(comparison, target, self.kernel, factors)

    def _comparison(
        self,
        z0: Tensor,
        z1: Tensor | None,
        sample_ids: SampleIds | None,
    ) -> Comparison:
        if isinstance(self.supervision, Classes):
            if z1 is None or len(z0) == 0:
                got = "no prototypes" if z1 is None else "no features"
                raise ValueError(
                    "Expected features (B, D) and prototypes (C, D) of the classes "
                    f"but got {got}"
                )
            gathered = self.gather_distributed and dist.world_size() > 1
            return Comparison(z0, z1, gathered=gathered)
        if z1 is None:
            return compare_samples(z0, self.candidates, self.gather_distributed)
        _check_one_shape(z0, z1)
        if not isinstance(self.supervision, Pairs):
            sample_ids = None  # copies of a sample are neighbours by their targets
        return compare_views(
            z0, z1, self.candidates, self.gather_distributed, sample_ids
        )

    def _queue_problem(self, query: Tensor, key: Tensor, queue: KeyQueue) -> Problem:
        """Each query (B, D) with its own key (B, D) and the queue's (N, D).

        The own key's product is a component of its query's factor, which the last
        candidate alone reads: a column (B, 1) instead of B columns.
        """
        _check_one_shape(query, key)
        if query.shape[1] != queue.keys.shape[1]:
            raise ValueError(
                f"Expected embeddings of the queue's size {queue.keys.shape[1]} but "
                f"got {query.shape[1]}"
            )
        anchors, queued = self.kernel.factors(query, queue.keys.to(query.dtype))
        own, keys = self.kernel.factors(query, key)
        anchors = torch.cat([anchors, (own * keys).sum(dim=1, keepdim=True)], dim=1)
        candidates = functional.pad(queued, (0, 1, 0, 1))
        candidates[-1, -1] = 1
        last = torch.full((len(query), 1), len(queued), device=query.device)
        comparison = Comparison(query, candidates, positive=last)
        target = debiased(self.supervision(comparison, None), comparison, self.debias)
        return Problem(comparison, target, self.kernel, (anchors, candidates))


def _check_one_shape(z0: Tensor, z1: Tensor) -> None:
    if z0.shape != z1.shape:
        raise ValueError(
            "Expected `z0` and `z1` to have one shape (B, D) but got "
            f"{tuple(z0.shape)} and {tuple(z1.shape)}"
        )


def log_sums_of_pairs(problem: Problem, temperatures: Sequence[float]) -> Tensor:
    """Logarithms of sum_ij exp(logits) over all pairs, one a temperature (T,)."""
    anchors, candidates = (factor.detach() for factor in problem.factors)
    sums = []
    for rows in chunks(len(anchors), len(candidates), anchors.device):
        log_s, _ = problem.log_similarity(anchors[rows] @ candidates.T)
        of_rows = [
            problem.logits(log_s.clone(), temperature, rows).logsumexp(dim=1)
            for temperature in temperatures
        ]
        sums.append(torch.stack(of_rows, dim=1))
    return problem.comparison.of_all(torch.cat(sums)).logsumexp(dim=0)
