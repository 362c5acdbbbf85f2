"""RKDO: I-Con whose p is updated recursively by q."""

from torch import Tensor, nn

from rkdo_plugin.field.response_field import ResponseField
from rkdo_plugin.losses.field_target import field_target_loss
from rkdo_plugin.losses.icon import IConLoss
from rkdo_plugin.losses.presets import PRESETS
from rkdo_plugin.losses.recursion import Recursion
from rkdo_plugin.options import check_choice, check_count, check_range
from rkdo_plugin.rowwise import rowwise_mean
from rkdo_plugin.supervision.comparison import SampleIds


class RKDOLoss(nn.Module):
    r"""Recursive KL divergence optimisation inside one batch.

        L   = 1/n sum_i sum_{t=1..T} KL(p_t(.|i) || q_t(.|i))
        p_t = (1 - a) p_{t-1} + a q_{t-1},    p_0(j|i) = 1[j is the other view of i]
        q_t = softmax_j(cos(f_i, f_j) / tau_t),    tau_t = tau_0 (1 - beta t / T)

    `over` takes p_0, s and the candidates from any other row of I-Con's table. The
    defaults reproduce the published code: anchors from `z0`, candidates from `z1`,
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
        over: The I-Con loss whose p is p_0, or a row's name, as "t-sne"; its own
            temperature is tau_0, and `temperature`, `candidates`, `symmetric` and
            `gather_distributed` keep their defaults.
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
        >>> criterion = RKDOLoss(over="supcon", coupling=0.2)
        >>> criterion(z0, z1, torch.arange(256) % 10).shape
        torch.Size([])

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
        over: str | IConLoss | None = None,
        field: ResponseField | None = None,
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
        own = (temperature, candidates, symmetric, gather_distributed)
        if over is None:
            row = IConLoss(
                temperature,
                candidates=candidates,
                symmetric=symmetric,
                gather_distributed=gather_distributed,
            )
        elif own != (0.5, "cross", False, False):
            raise ValueError(
                "Expected the defaults of `temperature`, `candidates`, `symmetric` and "
                f"`gather_distributed` beside `over`, which has its own, but got {own}"
            )
        else:
            row = _row(over)
        in_batch = (coupling, depth, temperature_decay, detach_target)
        if field is not None and (over is not None or in_batch != (0.5, 3, 0.1, False)):
            raise ValueError(
                "Expected no `over`, and the defaults of `coupling`, `depth`, "
                "`temperature_decay` and `detach_target`, beside `field`, whose own "
                f"coupling the recursion follows, but got {over} and {in_batch}"
            )
        self.over = None if over is None else row
        self._row = (row,)
        # No submodule: FieldCallback saves the field, and the recipe must not twice.
        self._field = (field,)
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
        """The loss (scalar, nats) of embeddings; any may be detached.

        Args:
            z0: (B, D), any floating dtype; the arithmetic is float32 or wider.
            z1: (B, D), the other view; as `over` reads it where that is given.
            targets: What the supervision of `over` reads.
            sample_ids: Which sample each row of `z0` and of `z1` shows, (B,) integers
                each: other copies of a sample are then no candidates. Views of one
                sample a row, all different, when not given.

        Raises:
            TypeError: An argument is no tensor, or not of a floating dtype; `targets`
                is missing, superfluous or of the wrong type.
            ValueError: The shapes do not fit, B is below 2, `targets` is out of range,
                or the samples' ids are not two vectors (B,) of integers.
        """
        return self.row.evaluate(self._one_way, z0, z1, targets, sample_ids)

    def _one_way(
        self,
        z0: Tensor,
        z1: Tensor | None,
        targets: Tensor | None,
        sample_ids: SampleIds | None,
    ) -> Tensor:
        if z1 is None and self.over is None:
            raise ValueError("Expected two views but got one; `over` names other rows")
        if self.field is not None and sample_ids is None:
            raise ValueError(
                "Expected `sample_ids`, whose rows of the field are the targets, but "
                "got none: add FieldCallback(field) to the Trainer, or pass them"
            )
        problem, temperature = self.row.problem(z0, z1, targets, sample_ids)
        if self.field is not None:
            return field_target_loss(problem.comparison, self.field, temperature)
        recursion = Recursion(
            problem,
            self.coupling,
            [
                temperature * (1 - self.temperature_decay * t / self.depth)
                for t in range(self.depth + 1)
            ],
            through_target=self.coupling > 0 and not self.detach_target,
        )
        if self.row.joint:
            recursion = recursion.over_all_pairs()
        return rowwise_mean(*problem.factors, recursion)

    @property
    def row(self) -> IConLoss:
        """The I-Con loss whose p the recursion starts from."""
        return self._row[0]

    @property
    def reads_labels(self) -> bool:
        """Whether `targets` are the samples' labels."""
        return self.row.reads_labels

    @property
    def temperature(self) -> float:
        """tau_0."""
        return self.row.temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self.row.temperature = temperature

    @property
    def candidates(self) -> str:
        """Who is compared with whom."""
        return self.row.candidates

    @property
    def field(self) -> ResponseField | None:
        """The response field whose rows are the targets, if any."""
        return self._field[0]

    def extra_repr(self) -> str:
        """The options, as `print(criterion)` shows them."""
        return (
            f"temperature={self.temperature}, coupling={self.coupling}, "
            f"depth={self.depth}, temperature_decay={self.temperature_decay}, "
            f"detach_target={self.detach_target}, candidates={self.row.candidates!r}, "
            f"symmetric={self.row.symmetric}, "
            f"gather_distributed={self.row.gather_distributed}"
        )


def _row(over: str | IConLoss) -> IConLoss:
    if isinstance(over, str):
        check_choice("over", over, PRESETS)
        return PRESETS[over]()
    if not isinstance(over, IConLoss) or over.divergence != "kl":
        raise ValueError(
            f"Expected `over` to be an I-Con loss of divergence 'kl' but got {over!r}"
        )
    return over
