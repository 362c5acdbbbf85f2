"""Divergences D(p || q) of rows, with their derivative with respect to log q."""

from collections.abc import Callable

import torch
from torch import Tensor

Divergence = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps p (R, C) and log q (R, C) to D (R,) and dD / d log q (R, C)."""


def kl(p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler: sum_j p_j (log p_j - log q_j), where 0 log 0 is 0."""
    value = torch.xlogy(p, p).sum(dim=1) - torch.linalg.vecdot(p, log_q)
    return value, p.neg()


DIVERGENCES: dict[str, Divergence] = {"kl": kl}
