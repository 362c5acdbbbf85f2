"""Divergences D(p || q) of rows, with their derivative with respect to log q."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Divergence = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps p (R, C) and log q (R, C) to D (R,) and dD / d log q (R, C)."""

# The least p in reverse KL, which is infinite at p = 0.
FLOOR = 1e-8


def negative_entropy(p: Tensor) -> Tensor:
    """sum_j p_j log p_j of rows (R, C), where 0 log 0 is 0."""
    # Not xlogy: it is not vectorised, and takes twenty times as long.
    smallest_normal = torch.finfo(p.dtype).tiny
    entropy: Tensor = torch.linalg.vecdot(p, p.clamp_min(smallest_normal).log_())
    return entropy


def kl(p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Kullback-Leibler: sum_j p_j (log p_j - log q_j), where 0 log 0 is 0."""
    return negative_entropy(p) - torch.linalg.vecdot(p, log_q), p.neg()


def reverse_kl(p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """KL(q || p): sum_j q_j (log q_j - log max(p_j, 1e-8)).

    Without the floor it is infinite wherever p is 0 and q is not, as for every one-hot
    p. With `debias` the floor is not reached.
    """
    q = log_q.exp()
    log_ratio = log_q - p.clamp_min(FLOOR).log_()
    return torch.linalg.vecdot(q, log_ratio), q * log_ratio.add_(1)


def js(p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Jensen-Shannon: (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2."""
    q = log_q.exp()
    log_m = torch.logaddexp(p.log(), log_q).sub_(math.log(2))
    of_q = q * (log_q - log_m)
    value = negative_entropy(p) - torch.linalg.vecdot(p, log_m) + of_q.sum(dim=1)
    return value / 2, of_q / 2


def tv(p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Total variation: sum_j |p_j - q_j| / 2, in [0, 1]."""
    q = log_q.exp()
    difference = q - p
    return difference.abs().sum(dim=1) / 2, difference.sign_().mul_(q).div_(2)


def hellinger(p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
    """Squared Hellinger distance: sum_j (sqrt(p_j) - sqrt(q_j))^2 / 2, in [0, 1]."""
    root_q = (log_q / 2).exp_()
    difference = root_q - p.sqrt()
    return difference.square().sum(dim=1) / 2, root_q.mul_(difference).div_(2)


DIVERGENCES: dict[str, Divergence] = {
    "kl": kl,
    "reverse_kl": reverse_kl,
    "js": js,
    "tv": tv,
    "hellinger": hellinger,
}
