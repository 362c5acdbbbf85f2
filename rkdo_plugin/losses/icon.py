"""I-Con: a divergence between what should be near and what is near."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rkdo_plugin.divergences import DIVERGENCES
from rkdo_plugin.kernels import KERNELS, Kernel
from rkdo_plugin.losses import inputs
from rkdo_plugin.losses.key_queue import KeyQueue
from rkdo_plugin.losses.learned import Learned
from rkdo_plugin.losses.mean_divergence import mean_divergence
from rkdo_plugin.options import (
    check_flags,
    check_range,
    check_temperature,
    check_type,
    choose,
)
from rkdo_plugin.supervision import (
    SUPERVISIONS,
    Classes,
    Labels,
    Pairs,
    Supervision,
    Target,
)
from rkdo_plugin.supervision.comparison import (
    CANDIDATES,
    Comparison,
    SampleIds,
    compare_prototypes,
    compare_samples,
    compare_views,
)
from rkdo_plugin.supervision.target import debiased


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
        check_range("debias", debias, 0, 1)
        inputs.check_gather(gather_distributed)
        check_flags(symmetric=symmetric, joint=joint)
        check_flags(learnable_temperature=learnable_temperature)
        if isinstance(supervision, str):
            name = choose("supervision", supervision, SUPERVISIONS)
            supervision = SUPERVISIONS[name]()
        if isinstance(kernel, str):
            kernel = KERNELS[choose("kernel", kernel, KERNELS)]()
        named = "a name, or an object of `rkdo_plugin."
        check_type("supervision", supervision, Callable, f"{named}supervision`")
        check_type("kernel", kernel, Kernel, f"{named}kernels`")
        self.supervision = supervision
        self.kernel = kernel
        self.divergence = choose("divergence", divergence, DIVERGENCES)
        self.debias = debias
        self.candidates = choose("candidates", candidates, CANDIDATES)
        self.gather_distributed = gather_distributed
        self.symmetric = symmetric
        self.joint = joint
        self._temperature = float(temperature)
        self._check_options(learnable_temperature, memory_bank_size is not None)
        if learnable_temperature:
            self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.queue = (
            KeyQueue(memory_bank_size, gather_distributed)
            if memory_bank_size is not None
            else None
        )

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
            z1: (B, D), the other view. None for methods of one embedding. Prototypes
                (C, D) of the classes with supervision "classes".
            targets: What the supervision reads: labels (B,), features (B, F), or rows
                of p.
            sample_ids: Which sample each row of `z0` and of `z1` shows, (B,) integers
                each. Other copies of a sample are then no candidates. When not given,
                the rows are views of different samples.

        Raises:
            TypeError: An argument is no tensor, or not of a floating dtype; `targets`
                is missing, superfluous or of the wrong type.
            ValueError: The shapes do not fit, B is below 2, `targets` is out of range,
                or the samples' ids are not two vectors (B,) of integers.
        """
        return self.mean_over_directions(
            lambda p, q: mean_divergence(p, q, self.divergence),
            z0,
            z1,
            targets,
            sample_ids,
        )

    def mean_over_directions(
        self,
        divergence: Callable[[Target, Learned], Tensor],
        z0: Tensor,
        z1: Tensor | None,
        targets: Tensor | None,
        sample_ids: SampleIds | None,
    ) -> Tensor:
        """The divergence of p and q: of one direction, or the mean of both.

        `divergence` maps p and q to a scalar; the other arguments are those of
        `forward`, and are checked here. A queue takes the keys in when the result is
        differentiated.
        """
        with inputs.full_precision(z0, z1, self.gather_distributed) as (z0, z1):
            inputs.check_sample_ids(sample_ids, len(z0))
            loss = divergence(*self.p_and_q(z0, z1, targets, sample_ids))
            if self.symmetric and z1 is not None:
                swapped = None if sample_ids is None else (sample_ids[1], sample_ids[0])
                other = divergence(*self.p_and_q(z1, z0, targets, swapped))
                loss = (loss + other) / 2
            if self.queue is not None and z1 is not None:
                self.queue.enter_after(loss, z1)
            return loss * inputs.one_or_nan(z0, z1)

    def p_and_q(
        self,
        z0: Tensor,
        z1: Tensor | None,
        targets: Tensor | None,
        sample_ids: SampleIds | None,
    ) -> tuple[Target, Learned]:
        """p(.|i), what should be near each anchor, and q(.|i), what is."""
        factors = None
        if self.queue is not None and z1 is not None:
            pairs, factors = self.queue.compare(z0, z1, self.kernel)
        else:
            pairs = self._compare(z0, z1, sample_ids)
        p = debiased(self.supervision(pairs, targets), pairs, self.debias)
        anchors, candidates = factors or self.kernel.factors(
            pairs.anchors, pairs.candidates, p.candidate_weight
        )
        tau = self._temperature
        if (learnt := getattr(self, "log_temperature", None)) is not None:
            anchors, tau = anchors * torch.exp(-learnt), 1.0
        q = Learned(pairs, self.kernel, (anchors, candidates), tau, p.candidate_weight)
        return (p.over_all_pairs(), q.over_all_pairs()) if self.joint else (p, q)

    def _compare(
        self, z0: Tensor, z1: Tensor | None, sample_ids: SampleIds | None
    ) -> Comparison:
        """Who is compared with whom: anchors i and their candidates j."""
        gather = self.gather_distributed
        if isinstance(self.supervision, Classes):
            return compare_prototypes(z0, z1, gather)
        if z1 is None:
            return compare_samples(z0, self.candidates, gather)
        if not isinstance(self.supervision, Pairs):
            sample_ids = None  # copies of a sample are neighbours by their targets
        return compare_views(z0, z1, self.candidates, gather, sample_ids)

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

    def _check_options(self, learnable_temperature: bool, queued: bool) -> None:
        """Refuse options that do not go together."""
        limit = self.kernel.normalizer != "softmax"
        if self.symmetric and self.candidates != "cross":
            raise ValueError(
                "Expected `symmetric` with candidates='cross' but got "
                f"{self.candidates!r}, which has anchors from both views already"
            )
        if self.divergence != "kl" and (self.joint or limit):
            with_what = "`joint`" if self.joint else f"{self.kernel}, a limit"
            raise ValueError(
                f"Expected divergence='kl' with {with_what} but got {self.divergence!r}"
            )
        if self.joint and limit:
            raise ValueError(f"Expected no limit with `joint` but got {self.kernel}")
        if learnable_temperature and not self.kernel.linear:
            raise ValueError(
                "Expected a kernel 'cosine', 'dot' or 'gaussian' with "
                f"`learnable_temperature` but got {self.kernel}"
            )
        pairs = isinstance(self.supervision, Pairs)
        if queued and (not pairs or self.candidates != "cross"):
            raise ValueError(
                "Expected supervision='pairs' and candidates='cross' with "
                f"`memory_bank_size` but got {self.supervision} and "
                f"{self.candidates!r}"
            )
        if queued and self.symmetric:
            raise ValueError("Expected no `symmetric` with `memory_bank_size`")
