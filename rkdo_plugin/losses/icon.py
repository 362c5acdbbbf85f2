"""I-Con: a divergence between what should be near and what is near."""

import torch
from torch import Tensor, nn

from rkdo_plugin.divergences import DIVERGENCES, kl
from rkdo_plugin.kernels import KERNELS, softmax_
from rkdo_plugin.losses.inputs import check_gather, check_sample_ids, full_precision
from rkdo_plugin.options import check_choice, check_range, check_temperature
from rkdo_plugin.rowwise import rowwise_mean
from rkdo_plugin.supervision import CANDIDATES, SampleIds, pair_views

SUPERVISIONS = ("pairs",)


class IConLoss(nn.Module):
    r"""Divergence between a supervisory and a learned distribution over candidates.

        L = 1/n sum_i D(p(.|i) || q(.|i)),    q(j|i) = softmax_j(log s(f_i, f_j) / tau)

    p puts its mass on the other view of i. With the defaults this is SimCLR's loss:
    `IConLoss(temperature=t)` equals `lightly.loss.NTXentLoss(t)`, in a fraction of its
    memory.

    Args:
        temperature: tau, positive.
        supervision: Where p comes from: "pairs", the two views of one sample.
        kernel: s. "cosine": exp(cosine), normalises inside; "student_t":
            1 / (1 + ||f_i - f_j||^2), takes the embeddings as they come.
        divergence: D. "kl".
        debias: Share of p that is spread evenly over the candidates, in [0, 1].
        candidates: "all": both views without the anchor itself (2B - 1); "cross": the
            other view only, with anchors from `z0` (B).
        gather_distributed: Take candidates from all processes.

    Raises:
        ValueError: An option is outside its range.

    Example:
        >>> from lightly.loss import NTXentLoss
        >>> z0, z1 = torch.randn(2, 256, 128).unbind()
        >>> torch.allclose(IConLoss(0.2)(z0, z1), NTXentLoss(0.2)(z0, z1))
        True

    Source: Alshammari et al., "I-Con: A Unifying Framework for Representation
    Learning", ICLR 2025, https://arxiv.org/abs/2504.16929, equation (1).
    """

    def __init__(
        self,
        temperature: float = 0.5,
        supervision: str = "pairs",
        kernel: str = "cosine",
        divergence: str = "kl",
        debias: float = 0.0,
        candidates: str = "all",
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        check_temperature(temperature)
        check_choice("supervision", supervision, SUPERVISIONS)
        check_choice("kernel", kernel, KERNELS)
        check_choice("divergence", divergence, DIVERGENCES)
        check_range("debias", debias, 0, 1)
        check_choice("candidates", candidates, CANDIDATES)
        check_gather(gather_distributed)
        self.temperature = temperature
        self.supervision = supervision
        self.kernel = kernel
        self.divergence = divergence
        self.debias = debias
        self.candidates = candidates
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
        kernel, divergence = KERNELS[self.kernel], DIVERGENCES[self.divergence]
        one_hot = divergence is kl and self.debias == 0
        with full_precision(z0, z1) as (z0, z1):
            check_sample_ids(sample_ids, len(z0))
            pairs = pair_views(
                z0, z1, self.candidates, self.gather_distributed, sample_ids
            )

            def objective(products: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
                logits, derivative = kernel.log_similarity(products)
                logits.mul_(1 / self.temperature)
                pairs.exclude(logits, rows)
                if one_hot:
                    # KL is the cross-entropy; its derivative is q - p.
                    at_positive = logits.gather(1, pairs.positive[rows])
                    value = (softmax_(logits) - at_positive)[:, 0]
                    slope = pairs.subtract_one_hot(logits, rows)
                else:
                    log_q = torch.log_softmax(logits, dim=1)
                    value, slope = divergence(pairs.target(rows, self.debias), log_q)
                    # log q = logits - logsumexp(logits)
                    total = slope.sum(dim=1, keepdim=True)
                    slope.addcmul_(log_q.exp_(), total, value=-1)
                if derivative is not None:
                    slope.mul_(derivative)
                return value, slope.mul_(1 / self.temperature)

            factors = kernel.factors(pairs.anchors, pairs.candidates)
            return rowwise_mean(*factors, objective)

    def extra_repr(self) -> str:
        """The options, as `print(criterion)` shows them."""
        return (
            f"temperature={self.temperature}, supervision={self.supervision!r}, "
            f"kernel={self.kernel!r}, divergence={self.divergence!r}, "
            f"debias={self.debias}, candidates={self.candidates!r}, "
            f"gather_distributed={self.gather_distributed}"
        )
