"""RKDO over DINO's prototypes: p, the teacher's, is updated recursively by q."""

import torch
from lightly.loss import DINOLoss
from torch import Tensor

from rkdo_plugin.factors import working_dtype
from rkdo_plugin.losses.inputs import one_or_nan
from rkdo_plugin.options import (
    check_below_one,
    check_count,
    check_range,
    check_temperature,
)
from rkdo_plugin.supervision.target import tiny


class RKDODINOLoss(DINOLoss):  # type: ignore[misc]
    r"""DINO whose target follows the student, as RKDO's p follows q.

        L   = mean over images and pairs of views u != v of sum_{t=1..T} KL(p_t || q_t)
        p_0 = softmax((teacher_v - c) / tau_teacher)
        q_t = softmax(student_u / tau_t),    tau_t = tau_student (1 - beta t / T)
        p_t = (1 - a) p_{t-1} + a q_{t-1}

    p and q are distributions over K prototypes instead of other samples. With coupling
    0, depth 1 and no decay it is DINO's loss minus the teacher's entropy, which has no
    gradient: DINO is I-Con over prototypes. Centre and warm-up are Lightly's.

    Args:
        output_dim: K.
        warmup_teacher_temp: The teacher's temperature in the first epoch.
        teacher_temp: Its temperature after the warm-up.
        warmup_teacher_temp_epochs: Number of epochs of the warm-up.
        student_temp: tau_student, positive.
        center_momentum: Momentum of the centre c.
        coupling: a, in [0, 1]: how far p follows q at each depth.
        depth: T, at least 1.
        temperature_decay: beta, in [0, 1).

    Raises:
        ValueError: An option is outside its range.

    Example:
        >>> criterion = RKDODINOLoss(output_dim=64)
        >>> teacher, student = torch.randn(2, 8, 64), torch.randn(4, 8, 64)
        >>> criterion(list(teacher), list(student)).shape
        torch.Size([])

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, equation (3), over the prototypes of Caron et al.,
    2021, https://arxiv.org/abs/2104.14294.
    """

    def __init__(
        self,
        output_dim: int = 65536,
        warmup_teacher_temp: float = 0.04,
        teacher_temp: float = 0.04,
        warmup_teacher_temp_epochs: int = 30,
        student_temp: float = 0.1,
        center_momentum: float = 0.9,
        coupling: float = 0.5,
        depth: int = 3,
        temperature_decay: float = 0.1,
    ) -> None:
        check_range("coupling", coupling, 0, 1)
        check_count("depth", depth)
        check_below_one("temperature_decay", temperature_decay)
        check_temperature(warmup_teacher_temp, "warmup_teacher_temp")
        check_temperature(teacher_temp, "teacher_temp")
        check_temperature(student_temp, "student_temp")
        check_range("center_momentum", center_momentum, 0, 1)
        super().__init__(
            output_dim,
            warmup_teacher_temp,
            teacher_temp,
            warmup_teacher_temp_epochs,
            student_temp,
            center_momentum,
        )
        self.coupling = coupling
        self.depth = depth
        self.temperature_decay = temperature_decay

    def forward(
        self,
        teacher_out: list[Tensor],
        student_out: list[Tensor],
        teacher_temp: float | None = None,
        epoch: int | None = None,
    ) -> Tensor:
        """The loss of views.

        Args:
            teacher_out: Teacher's logits (B, K) of each large view.
            student_out: Student's logits (B, K) of each view, the large ones first.
            teacher_temp: The teacher's temperature; as constructed when not given.
            epoch: The current epoch, for the warm-up of the teacher's temperature.

        Raises:
            ValueError: There are no two different views, the logits are not all (B, K)
                of floating dtypes, or the temperature is not positive.
        """
        if len(teacher_out) * len(student_out) <= min(
            len(teacher_out), len(student_out)
        ):
            raise ValueError(
                f"Expected two different views but got {len(teacher_out)} of the "
                f"teacher and {len(student_out)} of the student"
            )
        if teacher_temp is None:
            warming_up = epoch is not None and epoch < self.warmup_teacher_temp_epochs
            teacher_temp = float(
                self.teacher_temp_schedule[epoch] if warming_up else self.teacher_temp
            )
        check_temperature(teacher_temp, "teacher_temp")
        logits = [*teacher_out, *student_out]
        shape = (len(logits[0]), self.center.shape[2])
        for view in logits:
            if view.shape != shape or not view.is_floating_point():
                raise ValueError(
                    f"Expected logits {shape} of a floating dtype, of all views, but "
                    f"got {tuple(view.shape)} of {view.dtype}"
                )
        dtype = working_dtype(self.center, *logits)
        with torch.autocast(self.center.device.type, enabled=False):
            teacher = torch.stack(teacher_out).to(dtype)
            targets = torch.softmax((teacher - self.center) / teacher_temp, dim=-1)
            losses = [
                self._recursion(target, view.to(dtype))
                for v, target in enumerate(targets)
                for u, view in enumerate(student_out)
                if u != v
            ]
            self.update_center(teacher)
            return torch.stack(losses).mean() * one_or_nan(*logits)

    def _recursion(self, p: Tensor, logits: Tensor) -> Tensor:
        """Mean over B of the sum over depths, from p_0 and logits (B, K)."""
        value = logits.new_zeros(len(logits))
        log_q = torch.log_softmax(logits / self.student_temp, dim=1)
        for t in range(1, self.depth + 1):
            p = torch.lerp(p, log_q.exp(), self.coupling)
            tau = self.student_temp * (1 - self.temperature_decay * t / self.depth)
            log_q = torch.log_softmax(logits / tau, dim=1)
            # Not xlogy: its gradient at p = 0, where q underflows, is NaN.
            log_p = p.clamp_min(tiny(p)).log()
            value = value + (p * (log_p - log_q)).sum(dim=1)
        return value.mean()
