"""Whether the field's recursion has converged: L(t), its bound, and when it is flat.

L alone says nothing about the features: it also falls to 0 where p merely follows q.
"""

import math
import warnings
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor
from torch.nn import functional

from rkdo_plugin.field.mixtures import LOG_LINEAR
from rkdo_plugin.field.response_field import ResponseField
from rkdo_plugin.field.rows import UNFILLED
from rkdo_plugin.options import check_below_one, check_count, check_type

DIVERGENCE = "field/divergence"
CHUNK = 2**22  # similarities in memory at a time


@torch.no_grad()
def field_divergence(field: ResponseField, index: Tensor) -> Tensor:
    r"""KL(p(.|i) || q(.|i)) of samples, over the other samples seen so far.

        q(j|i) = softmax_j(cos(f_i, f_j) / tau),    p(.|i) = row_i / sum(row_i)

    tau is the field's teacher temperature, f are the latest embeddings. q excludes i
    itself, so p leaves out its mass on i.

    Args:
        field: The response field.
        index: (B,) integers.

    Returns:
        (B,) float32, in nats. NaN for a sample that was never embedded, or whose
        neighbours were never embedded.

    Raises:
        ValueError: An index is outside [0, N).

    Example:
        >>> field = ResponseField(num_samples=20, dim=4, neighbors=3, coupling=1)
        >>> field.update(torch.arange(20), torch.randn(20, 4))
        >>> field_divergence(field, torch.arange(20)).shape
        torch.Size([20])

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, equations (1) and (4).
    """
    ids, weights, _ = field.target(index)
    bank, valid = field.embeddings, field.valid
    own = index.to(bank.device, torch.int64)
    queries = bank[own].float()
    normaliser = queries.new_full((len(own),), -torch.inf)
    step = max(1, CHUNK // max(1, len(own)))
    for start in range(0, len(bank), step):
        logits = queries @ bank[start : start + step].float().T
        logits /= field.teacher_temperature
        others = torch.arange(start, start + logits.shape[1], device=bank.device)
        seen = valid[start : start + step] & (others != own[:, None])
        logits.masked_fill_(~seen, -torch.inf)
        normaliser = torch.logaddexp(normaliser, logits.logsumexp(dim=1))
    ids, weights = ids.to(bank.device), weights.to(bank.device)
    counts = (ids != UNFILLED) & valid[ids.clamp_min(0)]
    p = weights * counts
    p = functional.normalize(p, p=1, dim=1)
    cosines = torch.einsum("bd,bkd->bk", queries, bank[ids.clamp_min(0)].float())
    log_q = cosines / field.teacher_temperature - normaliser[:, None]
    divergence = -torch.special.entr(p).sum(dim=1)
    divergence -= torch.where(counts, p * log_q, 0).sum(dim=1)
    undefined = ~valid[own] | (p.sum(dim=1) == 0)
    found: Tensor = divergence.masked_fill(undefined, torch.nan).cpu()
    return found


def convergence_bound(
    initial: float, coupling: float, steps: int, floor: float = 0.0, error: float = 0.0
) -> float:
    r"""The bound on L(t) under the assumptions of theorem 3.

        L(t) <= (1 - a) L(t-1) + a L* + e    =>
        L(t) <= (1 - a)^t L(0) + (L* + e / a) (1 - (1 - a)^t)

    The assumption is that each q_t is fitted to its p_t at least as well as q_{t-1}
    was. An encoder that is trained on something else does not guarantee that.

    L is the divergence that the mixture contracts. For the linear one that is
    KL(p_t || q_t), which is convex in p_t. For the log-linear one it is the reversed
    KL(q_t || p_t), in which q_t is then fitted, too: on p_s = p^(1-s) q^s / Z_s

        KL(q || p_s) = (1 - s) KL(q || p) + log Z_s,    log Z_s <= 0 (Hölder)

    is convex in s, and 0 at s = 1. KL(p_s || q), whose derivative is
    -(1 - s) (log Z_s)'', never rises there, but need not contract by 1 - a: where p is
    nearly one-hot it hardly falls.

    Args:
        initial: L(0), in nats.
        coupling: a, in (0, 1]; with 0 nothing converges, and the bound is L(0) + t e.
        steps: t.
        floor: L*, the divergence of the best q that the model can represent.
        error: e, by how much a step's fit of q may miss the best one.

    Example:
        >>> convergence_bound(initial=2.0, coupling=0.5, steps=3)
        0.25

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, theorem 3.
    """
    if coupling == 0:
        return initial + steps * error
    remaining = math.pow(1 - coupling, steps)
    return remaining * initial + (floor + error / coupling) * (1 - remaining)


class ConvergenceMonitor(Callback):
    """Logs L(t) of a response field after every epoch, and its bound.

    It logs field/divergence, the mean over a fixed random choice of samples, in nats,
    and, of a linear mixture, field/divergence_bound, (1 - a)^t L(0). t is the number of
    epochs since the first value; each epoch updates a row at least once. A value above
    the bound says that q moves away from p faster than p follows. Put it behind
    `FieldCallback`.

    A log-linear mixture has no such bound. Its own is on KL(q || p), which is infinite
    where a row leaves out what q does not.

    Do not compare values of fields whose coupling or temperature differs.

    Args:
        field: The response field of the run's `FieldCallback`.
        samples: Number of samples that are measured, at most.

    Example:
        >>> field = ResponseField(num_samples=50_000, dim=128)
        >>> callbacks = [FieldCallback(field), ConvergenceMonitor(field)]
        >>> trainer = Trainer(callbacks=[*callbacks, StopWhenFlat()])
    """

    def __init__(self, field: ResponseField, samples: int = 1024) -> None:
        check_type("field", field, ResponseField)
        check_count("samples", samples)
        self.field = field
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(field.num_samples, generator=generator)
        self.index = order[:samples].sort().values
        self.initial: float | None = None
        self.epochs = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log."""
        value = float(field_divergence(self.field, self.index).nanmean())
        if math.isnan(value):
            return  # Rows are filled in a later epoch.
        if self.initial is None:
            self.initial = value
        else:
            self.epochs += 1
        values = {DIVERGENCE: value}
        if self.field.mixture != LOG_LINEAR:
            values[f"{DIVERGENCE}_bound"] = convergence_bound(
                self.initial, self.field.coupling, self.epochs
            )
        pl_module.log_dict(values)

    def state_dict(self) -> dict[str, Any]:
        """L(0) and the epochs since, for the checkpoint."""
        return {"initial": self.initial, "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a run's own L(t)."""
        self.initial, self.epochs = state["initial"], state["epochs"]


class StopWhenFlat(EarlyStopping):
    """Stops training when L(t) has flattened, as the paper advises.

    It warns once a run: a flat L says that p and q agree, not that the features are
    good. L is also flat where p merely follows q. Where there are labels, a
    classifier's accuracy is the better criterion.

    Args:
        min_improvement: A value counts as lower if it is lower by this share of the
            best value.
        patience: Number of epochs without a lower value before training stops.
        monitor: The logged value; `ConvergenceMonitor`'s by default.

    Raises:
        ValueError: `min_improvement` is outside [0, 1).

    Example:
        >>> StopWhenFlat(patience=5).patience
        5

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707.
    """

    def __init__(
        self,
        min_improvement: float = 0.01,
        patience: int = 3,
        monitor: str = DIVERGENCE,
    ) -> None:
        check_below_one("min_improvement", min_improvement)
        check_count("patience", patience, least=0)
        check_type("monitor", monitor, str, "the name of a logged value")
        super().__init__(
            monitor=monitor,
            patience=patience,
            # L(t) begins when the rows fill, which a warm-up delays.
            strict=False,
            check_on_train_epoch_end=True,
        )
        self.min_improvement = min_improvement

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn that a flat value says nothing about the features."""
        warnings.warn(
            f"StopWhenFlat stops when {self.monitor} is flat, which says nothing about "
            "the features: evaluate them",
            stacklevel=2,
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with the best so far."""
        if self.best_score.isfinite():
            self.min_delta = -self.min_improvement * abs(float(self.best_score))
        super().on_train_epoch_end(trainer, pl_module)
