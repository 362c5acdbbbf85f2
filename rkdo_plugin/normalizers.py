"""What makes log q of logits: log q(j|i) = logits(i, j) - normalizer(logits(i, :)).

Each maps logits (R, C) to the normaliser (R, 1) and overwrites them by its derivative,
the weights of the candidates; in place, because a fresh (R, C) buffer costs more than
the arithmetic. Softmax's weights are q itself.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Normalizer = Callable[[Tensor], Tensor]


def lowest(dtype: torch.dtype) -> float:
    """The logit of what is no candidate: its probability is 0.

    Finite, unlike -inf: 0 times it is 0, also after a division by a temperature.
    """
    return float(-(torch.finfo(dtype).max ** 0.5))


def softmax_(logits: Tensor) -> Tensor:
    """The logsumexp; the weights are q = softmax(logits)."""
    largest = logits.amax(dim=1, keepdim=True)
    total = logits.sub_(largest).exp_().sum(dim=1, keepdim=True)
    logits.div_(total)
    return total.log_().add_(largest)


def mean_(logits: Tensor) -> Tensor:
    """The mean over the candidates: the limit of equal similarities."""
    weights = (logits > lowest(logits.dtype) / 2).to(logits)
    weights /= weights.sum(dim=1, keepdim=True)
    mean: Tensor = torch.linalg.vecdot(weights, logits)[:, None]
    logits.copy_(weights)
    return mean


def max_(logits: Tensor) -> Tensor:
    """The largest, all weight on the first of that size: the limit of a winner."""
    largest, at = logits.max(dim=1, keepdim=True)
    logits.zero_().scatter_(1, at, 1)
    return largest


NORMALIZERS: dict[str, Normalizer] = {"softmax": softmax_, "mean": mean_, "max": max_}
