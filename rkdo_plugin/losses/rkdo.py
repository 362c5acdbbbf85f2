"""RKDO: I-Con whose p is updated recursively by q."""

import torch
from torch import Tensor, nn

from rkdo_plugin.field.response_field import ResponseField
from rkdo_plugin.kernels import KERNELS, softmax_
from rkdo_plugin.losses.field_target import field_target_loss
from rkdo_plugin.losses.inputs import check_gather, check_sample_ids, full_precision
from rkdo_plugin.options import check_choice, check_range, check_temperature
from rkdo_plugin.rowwise import rowwise_mean
from rkdo_plugin.supervision import CANDIDATES, Pairs, SampleIds, pair_views


class RKDOLoss(nn.Module):
    r"""Recursive KL divergence optimisation inside one batch.

        L   = 1/n sum_i sum_{t=1..T} KL(p_t(.|i) || q_t(.|i))
        p_t = (1 - a) p_{t-1} + a q_{t-1},    p_0(j|i) = 1[j is the other view of i]
        q_t = softmax_j(cos(f_i, f_j) / tau_t),    tau_t = tau_0 (1 - beta t / T)

    The defaults reproduce the published code: anchors from `z0`, candidates from `z1`,
    gradients through p as well as q. Its value is a sum over T divergences at several
    temperatures: compare it with no other loss, nor with itself at other settings.

    Args:
        temperature: tau_0, positive.
        coupling: a, in [0, 1]: how far p follows q at each depth. With 0 the loss is
            I-Con's, summed over the depths' temperatures.
        depth: T, at least 1.
        temperature_decay: beta, in [0, 1).
        detach_target: Treat p as given: no gradient through it.
        candidates: "cross": the other view only (B), as published; "all": both views
            without the anchor itself (2B - 1), as in SimCLR.
        symmetric: With "cross", average over both directions.
        gather_distributed: Take candidates from all processes.
        field: A response field whose rows are the targets, equation (3) read literally:
            the recursion runs in the field, over training time, and `coupling`,
            `depth`, `temperature_decay` and `detach_target` keep their defaults. The
            value is then one divergence, at `temperature`, and `forward` needs
            `sample_ids`, which `FieldCallback` gives. Offered for fidelity, not
            recommended: it brought no gain even with rows of an oracle's, since stored
            embeddings carry no gradient, are stale and are near already. Partners drawn
            by `FieldPairs`, with any criterion, did.

    Raises:
        ValueError: An option is outside its range.

    Example:
        >>> z0, z1 = torch.randn(2, 256, 128).unbind()
        >>> one_depth = RKDOLoss(coupling=0, depth=1, temperature_decay=0)(z0, z1)
        >>> torch.allclose(one_depth, IConLoss(candidates="cross")(z0, z1))
        True

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, equations (1), (3) and (4).
    """

    def __init__(
        self,
        temperature: float = 0.5,
        coupling: float = 0.5,
        depth: int = 3,
        temperature_decay: float = 0.1,
        detach_target: bool = False,
        candidates: str = "cross",
        symmetric: bool = False,
        gather_distributed: bool = False,
        field: ResponseField | None = None,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        check_range("coupling", coupling, 0, 1)
        if not isinstance(depth, int) or depth < 1:
            raise ValueError(
                f"Expected `depth` to be a positive integer but got {depth}"
            )
        check_range("temperature_decay", temperature_decay, 0, 1)
        if temperature_decay == 1:
            raise ValueError(
                "Expected `temperature_decay` to be below 1, where the last "
                "temperature is 0, but got 1"
            )
        check_choice("candidates", candidates, CANDIDATES)
        check_gather(gather_distributed)
        if symmetric and candidates == "all":
            raise ValueError(
                "Expected `symmetric` with candidates='cross' but got 'all', which "
                "has anchors from both views already"
            )
        in_batch = (coupling, depth, temperature_decay, detach_target)
        if field is not None and in_batch != (0.5, 3, 0.1, False):
            raise ValueError(
                "Expected the defaults of `coupling`, `depth`, `temperature_decay` and "
                "`detach_target` beside `field`, whose own coupling the recursion "
                f"follows, but got {in_batch}"
            )
        # No submodule: FieldCallback saves the field, and the recipe must not twice.
        self._field = (field,)
        self.temperature = temperature
        self.coupling = coupling
        self.depth = depth
        self.temperature_decay = temperature_decay
        self.detach_target = detach_target
        self.candidates = candidates
        self.symmetric = symmetric
        self.gather_distributed = gather_distributed

    def forward(
        self, z0: Tensor, z1: Tensor, *, sample_ids: SampleIds | None = None
    ) -> Tensor:
        """The loss (scalar, nats) of two views' embeddings; either may be detached.

        Args:
            z0: (B, D), any floating dtype; the arithmetic is float32 or wider.
            z1: (B, D).
            sample_ids: Which sample each row of `z0` and of `z1` shows, (B,) integers
                each: other copies of a sample are then no candidates. Views of one
                sample a row, all different, when not given.

        Raises:
            TypeError: An argument is no tensor, or not of a floating dtype.
            ValueError: The shapes are not one (B, D) with B of at least 2, or the
                samples' ids are not two vectors (B,) of integers.
        """
        with full_precision(z0, z1) as (z0, z1):
            check_sample_ids(sample_ids, len(z0))
            if self.field is not None and sample_ids is None:
                raise ValueError(
                    "Expected `sample_ids`, whose rows of the field are the targets, "
                    "but got none: add FieldCallback(field) to the Trainer, or pass "
                    "them"
                )
            forth = self._one_way(z0, z1, sample_ids)
            if not self.symmetric:
                return forth
            swapped = None if sample_ids is None else (sample_ids[1], sample_ids[0])
            return (forth + self._one_way(z1, z0, swapped)) / 2

    def _one_way(self, z0: Tensor, z1: Tensor, sample_ids: SampleIds | None) -> Tensor:
        pairs = pair_views(z0, z1, self.candidates, self.gather_distributed, sample_ids)
        if self.field is not None:
            return field_target_loss(pairs, self.field, self.temperature)
        factors = KERNELS["cosine"].factors(pairs.anchors, pairs.candidates)
        return rowwise_mean(
            *factors, lambda cosines, rows: self._recursion(cosines, rows, pairs)
        )

    def _recursion(
        self, cosines: Tensor, rows: slice, pairs: Pairs
    ) -> tuple[Tensor, Tensor]:
        """Values (R,) and derivative (R, C) of rows of cosines (R, C).

        Backwards, A_t collects dL/dp_t: A_t = log p_t - log q_t + (1 - a) A_{t+1}, and
        reaches q_{t-1} with weight a. Constants along a row cancel in softmax's
        derivative q * (A - <A, q>), so they are left out of A.
        """
        a, depth = self.coupling, self.depth
        tau = [
            self.temperature * (1 - self.temperature_decay * t / depth)
            for t in range(depth + 1)
        ]
        pairs.exclude(cosines, rows)
        # Softmax ignores the shift; log p - cosine / tau cancels less with it.
        cosines.sub_(cosines.amax(dim=1, keepdim=True))
        smallest_normal = torch.finfo(cosines.dtype).tiny
        p = pairs.target(rows, debias=0)
        q = [cosines * (1 / tau[0])]
        softmax_(q[0])
        value = cosines.new_zeros(len(cosines))
        slope = torch.zeros_like(cosines)
        log_ratio = []
        for t in range(1, depth + 1):
            p.lerp_(q[t - 1], a)
            q.append(cosines * (1 / tau[t]))
            log_normaliser = softmax_(q[t])
            # p = 0 meets its logarithm only as 0 log 0 = 0
            ratio = p.clamp_min(smallest_normal).log_()
            ratio.sub_(cosines, alpha=1 / tau[t])
            log_ratio.append(ratio)
            value += torch.linalg.vecdot(p, ratio) + log_normaliser[:, 0]
            slope.add_(q[t], alpha=1 / tau[t]).sub_(p, alpha=1 / tau[t])
        if a == 0 or self.detach_target:
            return value, slope
        to_p = log_ratio[-1]
        for t in range(depth, 0, -1):
            if t < depth:
                to_p = log_ratio[t - 1].add_(to_p, alpha=1 - a)
            to_p.sub_(torch.linalg.vecdot(to_p, q[t - 1])[:, None])
            slope.addcmul_(to_p, q[t - 1], value=a / tau[t - 1])
        return value, slope

    @property
    def field(self) -> ResponseField | None:
        """The response field whose rows are the targets, if any."""
        return self._field[0]

    def extra_repr(self) -> str:
        """The options, as `print(criterion)` shows them."""
        return (
            f"temperature={self.temperature}, coupling={self.coupling}, "
            f"depth={self.depth}, temperature_decay={self.temperature_decay}, "
            f"detach_target={self.detach_target}, candidates={self.candidates!r}, "
            f"symmetric={self.symmetric}, gather_distributed={self.gather_distributed}"
        )
