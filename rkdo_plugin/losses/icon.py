"""I-Con: a divergence between what should be near and what is near."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rkdo_plugin.divergences import DIVERGENCES
from rkdo_plugin.kernels import KERNELS, Kernel
from rkdo_plugin.losses.composition import Composition, Problem
from rkdo_plugin.losses.inputs import check_gather, check_sample_ids, full_precision
from rkdo_plugin.losses.key_queue import KeyQueue
from rkdo_plugin.losses.row_divergences import mean_limit, row_divergence
from rkdo_plugin.options import check_choice, check_range, check_temperature
from rkdo_plugin.rowwise import rowwise_mean
from rkdo_plugin.supervision import SUPERVISIONS, Labels, Pairs, Supervision
from rkdo_plugin.supervision.comparison import CANDIDATES, SampleIds

OneWay = Callable[[Tensor, Tensor | None, Tensor | None, SampleIds | None], Tensor]
"""Maps z0, z1, targets and sample_ids to a loss with anchors from z0."""


class IConLoss(nn.Module):
    r"""Divergence between a supervisory and a learned distribution over candidates.

        L = 1/n sum_i D(p(.|i) || q(.|i)),    q(j|i) = softmax_j(log s(f_i, f_j) / tau)

    With the defaults p puts its mass on the other view of i and this is SimCLR's loss:
    `IConLoss(temperature=t)` equals `lightly.loss.NTXentLoss(t)`, in a fraction of its
    memory. Any p, s and D go together; `create_loss` has the known rows by name.

    Args:
        temperature: tau, positive.
        supervision: Where p comes from: "pairs", "labels", "classes", "neighbors",
            "gaussian", "perplexity", "similarity", "spectral", "given" or "itself", or
            an object of `rkdo_plugin.supervision` with options of its own.
        kernel: s. "cosine", "dot", "gaussian", "student_t", "power_law" or "clusters",
            or an object of `rkdo_plugin.kernels` with options of its own. "cosine"
            normalises inside, the others take the embeddings as they come.
        divergence: D. "kl", "reverse_kl", "js", "tv" or "hellinger".
        debias: Share of p that is spread evenly over the candidates, in [0, 1].
        candidates: "all": all views without the anchor itself; "with_self": with it;
            "cross": the other view only, with anchors from `z0`.
        gather_distributed: Take candidates from all processes.
        symmetric: With "cross", average over both directions, as CLIP does; both read
            the same `targets`.
        joint: Symmetrise p, and let p and q each sum to 1 over all pairs rather than
            for each anchor, as t-SNE does.
        learnable_temperature: Make tau a parameter, of which `temperature` is the
            start; an optimizer has to hold it.
        memory_bank_size: (N, D): beside the anchor's own positive, the candidates are
            the N newest embeddings `z1` of earlier steps, as in MoCo.

    Raises:
        ValueError: An option is outside its range, or two do not go together.

    Example:
        >>> from lightly.loss import NTXentLoss
        >>> z0, z1 = torch.randn(2, 256, 128).unbind()
        >>> torch.allclose(IConLoss(0.2)(z0, z1), NTXentLoss(0.2)(z0, z1))
        True

        A p that nobody has tried with a q that nobody has tried:

        >>> from rkdo_plugin.kernels import PowerLaw
        >>> from rkdo_plugin.supervision import Neighbors, RandomWalk
        >>> walk = RandomWalk(Neighbors(k=3), steps=2)
        >>> criterion = IConLoss(1.0, walk, PowerLaw(4), "hellinger", debias=0.1)
        >>> bool(criterion(torch.randn(64, 8), targets=torch.randn(64, 5)) < 1)
        True

    Source: Alshammari et al., "I-Con: A Unifying Framework for Representation
    Learning", ICLR 2025, https://arxiv.org/abs/2504.16929, equation (1).
    """

    def __init__(
        self,
        temperature: float = 0.5,
        supervision: str | Supervision = "pairs",
        kernel: str | Kernel = "cosine",
        divergence: str = "kl",
        debias: float = 0.0,
        candidates: str = "all",
        gather_distributed: bool = False,
        symmetric: bool = False,
        joint: bool = False,
        learnable_temperature: bool = False,
        memory_bank_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        if isinstance(supervision, str):
            check_choice("supervision", supervision, SUPERVISIONS)
            supervision = SUPERVISIONS[supervision]()
        if isinstance(kernel, str):
            check_choice("kernel", kernel, KERNELS)
            kernel = KERNELS[kernel]()
        check_choice("divergence", divergence, DIVERGENCES)
        check_range("debias", debias, 0, 1)
        check_choice("candidates", candidates, CANDIDATES)
        check_gather(gather_distributed)
        if symmetric and candidates != "cross":
            raise ValueError(
                f"Expected `symmetric` with candidates='cross' but got {candidates!r}, "
                "which has anchors from both views already"
            )
        if divergence != "kl" and (joint or kernel.normalizer != "softmax"):
            with_what = "`joint`" if joint else f"{kernel}, a limit"
            raise ValueError(
                f"Expected divergence='kl' with {with_what} but got {divergence!r}"
            )
        if joint and kernel.normalizer != "softmax":
            raise ValueError(f"Expected no limit with `joint` but got {kernel}")
        if learnable_temperature and not kernel.linear:
            raise ValueError(
                "Expected a kernel 'cosine', 'dot' or 'gaussian' with "
                f"`learnable_temperature` but got {kernel}"
            )
        queued = memory_bank_size is not None
        if queued and (not isinstance(supervision, Pairs) or candidates != "cross"):
            raise ValueError(
                "Expected supervision='pairs' and candidates='cross' with "
                f"`memory_bank_size` but got {supervision} and {candidates!r}"
            )
        if queued and symmetric:
            raise ValueError("Expected no `symmetric` with `memory_bank_size`")
        self.supervision = supervision
        self.kernel = kernel
        self.divergence = divergence
        self.debias = debias
        self.candidates = candidates
        self.gather_distributed = gather_distributed
        self.symmetric = symmetric
        self.joint = joint
        self.queue = (
            KeyQueue(*memory_bank_size, gather_distributed)
            if memory_bank_size is not None
            else None
        )
        self._temperature = float(temperature)
        if learnable_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))

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
            z1: (B, D), the other view; none for methods of one embedding; with
                supervision "classes", prototypes (C, D) of the classes.
            targets: What the supervision reads: labels (B,), features (B, F), or rows
                of p.
            sample_ids: Which sample each row of `z0` and of `z1` shows, (B,) integers
                each: other copies of a sample are then no candidates. Views of one
                sample a row, all different, when not given.

        Raises:
            TypeError: An argument is no tensor, or not of a floating dtype; `targets`
                is missing, superfluous or of the wrong type.
            ValueError: The shapes do not fit, B is below 2, `targets` is out of range,
                or the samples' ids are not two vectors (B,) of integers.
        """
        return self.evaluate(self._one_way, z0, z1, targets, sample_ids)

    def evaluate(
        self,
        one_way: OneWay,
        z0: Tensor,
        z1: Tensor | None,
        targets: Tensor | None,
        sample_ids: SampleIds | None,
    ) -> Tensor:
        """A loss of a checked batch: both ways if symmetric; then the queue moves on.

        Args:
            one_way: The loss of anchors `z0`; it reads the other arguments likewise.
            z0: As of `forward`, and so are the rest.
            z1: See there.
            targets: See there.
            sample_ids: See there.
        """
        with full_precision(z0, z1) as (z0, z1):
            check_sample_ids(sample_ids, len(z0))
            loss = one_way(z0, z1, targets, sample_ids)
            if self.symmetric and z1 is not None:
                swapped = None if sample_ids is None else (sample_ids[1], sample_ids[0])
                loss = (loss + one_way(z1, z0, targets, swapped)) / 2
            if self.queue is not None and z1 is not None:
                self.queue.enter_after(loss, z1)
            return loss

    @property
    def reads_labels(self) -> bool:
        """Whether `targets` are the samples' labels."""
        return isinstance(self.supervision, Labels)

    @property
    def temperature(self) -> float:
        """Tau, as it is now."""
        learnt = getattr(self, "log_temperature", None)
        return self._temperature if learnt is None else math.exp(learnt.detach())

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        check_temperature(temperature)
        if hasattr(self, "log_temperature"):
            raise AttributeError(
                "Expected a temperature that is given but it is learnt"
            )
        self._temperature = float(temperature)

    def problem(
        self,
        z0: Tensor,
        z1: Tensor | None,
        targets: Tensor | None,
        sample_ids: SampleIds | None,
    ) -> tuple[Problem, float]:
        """The problem of a batch, and the temperature that its products still need."""
        problem = Composition(
            self.supervision,
            self.kernel,
            self.candidates,
            self.debias,
            self.gather_distributed,
        ).problem(z0, z1, targets, sample_ids, self.queue)
        learnt: Tensor | None = getattr(self, "log_temperature", None)
        if learnt is None:
            return problem, self._temperature
        return problem.scaled(torch.exp(-learnt)), 1

    def _one_way(
        self,
        z0: Tensor,
        z1: Tensor | None,
        targets: Tensor | None,
        sample_ids: SampleIds | None,
    ) -> Tensor:
        problem, temperature = self.problem(z0, z1, targets, sample_ids)
        if problem.mean_suffices:
            return mean_limit(problem) / temperature
        divergence = row_divergence(problem, temperature, self.divergence, self.joint)
        weight = problem.target.weight

        def objective(products: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
            log_s, derivative = problem.log_similarity(products)
            value, slope = divergence(problem.logits(log_s, temperature, rows), rows)
            if derivative is not None:
                slope.mul_(derivative)
            if weight is not None:
                value, slope = value * weight[rows], slope.mul_(weight[rows, None])
            if temperature != 1:
                slope.mul_(1 / temperature)
            return value, slope

        return rowwise_mean(*problem.factors, objective)

    def extra_repr(self) -> str:
        """The options, as `print(criterion)` shows them."""
        bank = None if self.queue is None else tuple(self.queue.keys.shape)
        options = {
            "temperature": self.temperature,
            "supervision": self.supervision,
            "kernel": self.kernel,
            "divergence": self.divergence,
            "debias": self.debias,
            "candidates": self.candidates,
            "gather_distributed": self.gather_distributed,
            "symmetric": self.symmetric,
            "joint": self.joint,
            "memory_bank_size": bank,
        }
        return ", ".join(f"{name}={value!r}" for name, value in options.items())
