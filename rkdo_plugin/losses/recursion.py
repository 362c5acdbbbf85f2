"""RKDO's recursion of p by q on a chunk of rows, forward and backward."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch
from torch import Tensor

from rkdo_plugin.losses.learned import Learned, Normalizer
from rkdo_plugin.supervision.target import Target, tiny

# Of Triton's kernels, whose work grows with the square of the depth.
MOST_TEMPERATURES = 9


@dataclass(frozen=True)
class Recursion:
    """Values (R,) of sum_t KL(p_t || q_t), and their derivative (R, C) by log s.

    Forward, for t = 1 ... T, from p_0 and q_0:

        p_t = (1 - a) p_{t-1} + a q_{t-1}
        q_t = exp(log s / tau_t) / Z_t
        KL(p_t || q_t) = sum_j p_t (log p_t - log s / tau_t) + log Z_t

    Backward, L is the sum over t, and A_t collects dL / dp_t:

        through q_t:                (q_t - p_t) / tau_t
        A_t = log p_t - log q_t + (1 - a) A_{t+1}
        through p_t and q_{t-1}:    a / tau_{t-1} q_{t-1} (A_t - <A_t>)

    <A_t> is the mean of A_t over q_{t-1}. It makes constants along a row cancel, so
    A_t leaves out log Z_t.

    Attributes:
        p: p_0.
        q: Gives log s.
        coupling: a.
        temperatures: tau_0 ... tau_T.
        through_target: Take the gradient through p, too.
        normalizers: What turns the logits of each temperature into q_t.
        means: <A_t> for t = 1 ... T (T,), where q sums to 1 over all pairs rather than
            for each anchor.
    """

    p: Target
    q: Learned
    coupling: float
    temperatures: Sequence[float]
    through_target: bool
    normalizers: Sequence[Normalizer]
    means: Tensor | None = None

    def __call__(self, log_s: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        """Values (R,) and derivative (R, C) of log s (R, C), which it overwrites."""
        if self._fits_triton(log_s):
            return self._by_triton(log_s, rows)
        steps = self._forward(log_s, rows)
        if self.through_target:
            for t, adjoint in self._adjoints(steps):
                q, weight = steps.q[t - 1], self.coupling / self.temperatures[t - 1]
                if self.means is None:
                    mean = torch.linalg.vecdot(adjoint, q)[:, None]
                else:
                    mean = self.means[t - 1]
                steps.slope.addcmul_(adjoint, q, value=weight)
                steps.slope.addcmul_(q, mean, value=-weight)
        return steps.value, steps.slope

    def with_means(self) -> "Recursion":
        """The recursion of p and q over all pairs: <A_t> takes a pass beforehand."""
        sums = []
        for log_s, rows in self.q.chunks():
            steps = self._forward(log_s, rows)
            of_depths = [
                torch.linalg.vecdot(adjoint, steps.q[t - 1])
                for t, adjoint in self._adjoints(steps)
            ]
            sums.append(torch.stack(of_depths[::-1], dim=1))
        comparison = self.q.comparison
        total = comparison.of_all(torch.cat(sums)).sum(dim=0)
        return replace(self, means=total / comparison.num_anchors)

    def _fits_triton(self, log_s: Tensor) -> bool:
        """Whether the kernels of recursion_triton.py compute this, and can run."""
        return (
            log_s.is_cuda
            and log_s.dtype == torch.float32
            and not self.q.joint
            and not self.q.limit
            and self.q.candidate_weight is None
            and len(self.temperatures) <= MOST_TEMPERATURES
            and _triton_runs(log_s.device)
        )

    def _by_triton(self, log_s: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        from rkdo_plugin.losses.recursion_triton import recurse

        self.q.comparison.exclude(log_s, rows)
        p = self.p.rows(rows).contiguous()
        options = self.coupling, self.temperatures, self.through_target
        return recurse(log_s.contiguous(), p, *options)

    def _forward(self, log_s: Tensor, rows: slice) -> "_Steps":
        self.q.comparison.exclude(log_s, rows)
        if not self.q.joint and not self.q.limit:
            # The softmax ignores this shift. log p - log s / tau cancels less with it.
            log_s.sub_(log_s.amax(dim=1, keepdim=True))
        p = self.p.rows(rows)
        steps = _Steps(log_s.new_zeros(len(log_s)), torch.zeros_like(log_s), [], [])
        for t, (tau, normalizer) in enumerate(
            zip(self.temperatures, self.normalizers, strict=True)
        ):
            logits = self.q.weighted(log_s * (1 / tau))
            if t > 0:
                p.lerp_(steps.q[t - 1], self.coupling)
                log_ratio = self._log_of(p).sub_(logits)
                steps.log_ratio.append(log_ratio)
                steps.value.add_(torch.linalg.vecdot(p, log_ratio))
            log_z = normalizer(logits)[:, 0]
            steps.q.append(logits)  # they are q_t by now
            if t > 0:
                steps.value.add_(log_z)
                steps.slope.add_(logits, alpha=1 / tau).sub_(p, alpha=1 / tau)
        return steps

    def _log_of(self, p: Tensor) -> Tensor:
        """Log p, or 0 in a limit, where p's entropy vanishes beside log q."""
        if self.q.limit:
            return torch.zeros_like(p)
        # p = 0 meets its logarithm only as 0 log 0 = 0.
        return p.clamp_min(tiny(p)).log_()

    def _adjoints(self, steps: "_Steps") -> Iterator[tuple[int, Tensor]]:
        """T and A_t (R, C), from t = T down to 1."""
        adjoint = steps.log_ratio[-1]
        for t in range(len(steps.log_ratio), 0, -1):
            if t < len(steps.log_ratio):
                adjoint = steps.log_ratio[t - 1].add_(adjoint, alpha=1 - self.coupling)
            yield t, adjoint


@dataclass(frozen=True)
class _Steps:
    """What the forward pass leaves for the backward pass.

    Attributes:
        value: Sum of the divergences (R,).
        slope: Derivative (R, C) of the value through q_1 ... q_T.
        q: q_0 ... q_T, (R, C) each.
        log_ratio: log p_t - log s / tau_t for t = 1 ... T, (R, C) each.
    """

    value: Tensor
    slope: Tensor
    q: list[Tensor]
    log_ratio: list[Tensor]


def recursive_divergence(
    p: Target,
    q: Learned,
    coupling: float,
    temperatures: Sequence[float],
    detach_target: bool,
) -> Tensor:
    """1/n sum_i sum_t KL(p_t(.|i) || q_t(.|i)), a scalar with gradient.

    Args:
        p: p_0.
        q: Gives the similarities, from which every q_t is made.
        coupling: a, in [0, 1].
        temperatures: tau_0 ... tau_T.
        detach_target: Treat every p_t as given: no gradient through it.
    """
    # In a limit the weights q do not move with the embeddings.
    through_target = coupling > 0 and not detach_target and not q.limit
    normalizers = q.normalizers(temperatures)
    recursion = Recursion(p, q, coupling, temperatures, through_target, normalizers)
    if q.joint and through_target:
        recursion = recursion.with_means()
    return q.mean_over_anchors(p, recursion)


def _triton_runs(device: torch.device) -> bool:
    if find_spec("triton") is None:
        return False
    from rkdo_plugin.losses.recursion_triton import runs_on

    return runs_on(device)
