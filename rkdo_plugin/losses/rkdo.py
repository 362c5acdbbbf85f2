"""RKDO: I-Con whose p is updated recursively by q."""

from torch import Tensor, nn

from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.losses.learned import Learned
from rkdo_plugin.losses.recursion import recursive_divergence
from rkdo_plugin.options import check_count, check_flags, check_range
from rkdo_plugin.plugins.create import create_loss
from rkdo_plugin.supervision import Target
from rkdo_plugin.supervision.comparison import SampleIds


class RecursiveLoss(nn.Module):
    r"""The recursion over any row of I-Con's table.

        L   = 1/n sum_i sum_{t=1..T} KL(p_t(.|i) || q_t(.|i))
        p_t = (1 - a) p_{t-1} + a q_{t-1},    p_0 is the p of `over`
        q_t = the q of `over` at tau_t,       tau_t = tau_0 (1 - beta t / T)

    With coupling 0, depth 1 and no decay it is `over` itself.

    Args:
        over: An I-Con loss of divergence "kl", or the registered name of one, as
            "supcon". Its temperature is tau_0.
        coupling: a, in [0, 1]: how far p follows q at each depth. With 0 the loss is
            that of `over`, summed over the depths' temperatures.
        depth: T, at least 1.
        temperature_decay: beta, in [0, 1).
        detach_target: Treat p as given: no gradient through it.

    Raises:
        ValueError: An option is outside its range, or `over` is of another divergence.

    Example:
        >>> z0, z1 = torch.randn(2, 256, 128).unbind()
        >>> criterion = RecursiveLoss("supcon", coupling=0.2)
        >>> criterion(z0, z1, torch.arange(256) % 10).shape
        torch.Size([])

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, equations (1), (3) and (4).
    """

    def __init__(
        self,
        over: str | IConLoss,
        coupling: float = 0.5,
        depth: int = 3,
        temperature_decay: float = 0.1,
        detach_target: bool = False,
    ) -> None:
        super().__init__()
        check_range("coupling", coupling, 0, 1)
        check_count("depth", depth)
        check_range("temperature_decay", temperature_decay, 0, 1)
        if temperature_decay == 1:
            raise ValueError(
                "Expected `temperature_decay` to be below 1, where the last "
                "temperature is 0, but got 1"
            )
        check_flags(detach_target=detach_target)
        row = create_loss(over) if isinstance(over, str) else over
        if not isinstance(row, IConLoss) or row.divergence != "kl":
            raise ValueError(
                f"Expected `over` to be an I-Con loss of divergence 'kl' but got {row}"
            )
        self.over = row
        self.coupling = coupling
        self.depth = depth
        self.temperature_decay = temperature_decay
        self.detach_target = detach_target

    def forward(
        self,
        z0: Tensor,
        z1: Tensor | None = None,
        targets: Tensor | None = None,
        *,
        sample_ids: SampleIds | None = None,
    ) -> Tensor:
        """The loss of embeddings (scalar, nats); any of them may be detached.

        Args:
            z0: (B, D), any floating dtype; the arithmetic is float32 or wider.
            z1: (B, D), the other view, or what else `over` reads there.
            targets: What the supervision of `over` reads.
            sample_ids: See `IConLoss.forward`.

        Raises:
            TypeError: See `IConLoss.forward`.
            ValueError: See `IConLoss.forward`.
        """
        return self.over.mean_over_directions(
            self._recursion, z0, z1, targets, sample_ids
        )

    def _recursion(self, p: Target, q: Learned) -> Tensor:
        taus = [
            q.temperature * (1 - self.temperature_decay * t / self.depth)
            for t in range(self.depth + 1)
        ]
        return recursive_divergence(p, q, self.coupling, taus, self.detach_target)

    @property
    def reads_labels(self) -> bool:
        """Whether `targets` are the samples' labels."""
        return self.over.reads_labels

    @property
    def temperature(self) -> float:
        """tau_0."""
        return self.over.temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self.over.temperature = temperature

    def extra_repr(self) -> str:
        """The options, as `print(criterion)` shows them."""
        return (
            f"temperature={self.temperature}, coupling={self.coupling}, "
            f"depth={self.depth}, temperature_decay={self.temperature_decay}, "
            f"detach_target={self.detach_target}"
        )


class RKDOLoss(RecursiveLoss):
    r"""Recursive KL divergence optimisation inside one batch.

        L   = 1/n sum_i sum_{t=1..T} KL(p_t(.|i) || q_t(.|i))
        p_t = (1 - a) p_{t-1} + a q_{t-1},    p_0(j|i) = 1[j is the other view of i]
        q_t = softmax_j(cos(f_i, f_j) / tau_t),    tau_t = tau_0 (1 - beta t / T)

    The defaults reproduce the published code: anchors from `z0`, candidates from `z1`,
    gradients through p as well as q. The value is a sum over T divergences at several
    temperatures: compare it with no other loss, nor with itself at other settings.
    `RecursiveLoss` takes p_0, the similarity and the candidates from any other row of
    I-Con's table.

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
    ) -> None:
        pairs = IConLoss(
            temperature,
            candidates=candidates,
            symmetric=symmetric,
            gather_distributed=gather_distributed,
        )
        super().__init__(pairs, coupling, depth, temperature_decay, detach_target)

    @property
    def candidates(self) -> str:
        """Who is compared with whom."""
        return self.over.candidates
