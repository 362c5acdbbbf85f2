"""The bandwidth at which a Gaussian's row has a given perplexity."""

import math

import torch
from torch import Tensor

STEPS = 100
TOLERANCE = 1e-6  # of the entropy, in nats, where the precision allows it


def precision_of_perplexity(squared_distances: Tensor, perplexity: float) -> Tensor:
    """b_i such that softmax(-b_i d_i^2) has the entropy log(perplexity).

    Newton's method in log b, on an entropy that falls with b, within a bracket that is
    halved where a step leaves it. A row that cannot be so narrow, as with more than
    `perplexity` candidates at the smallest distance, ends near what it can.

    Args:
        squared_distances: (R, C), infinite where there is no candidate.
        perplexity: Above 1 and below the number of candidates.

    Returns:
        (R,), 1 / (2 sigma_i^2).
    """
    wanted = math.log(perplexity)
    absent = squared_distances.isinf()
    squares = squared_distances.masked_fill(absent, 0)
    smallest = squared_distances.amin(dim=1, keepdim=True)
    # Softmax ignores the shift, without which b d^2 of the nearest overflows.
    squares = squares.sub_(smallest).masked_fill_(absent, 0)
    counts = (~absent).sum(dim=1)
    mean = squares.sum(dim=1) / counts
    # Rows in units of their own mean: b is then of order 1.
    unit = mean.where(mean > 0, 1)
    squares.div_(unit[:, None])
    tolerance = max(TOLERANCE, 16 * torch.finfo(squares.dtype).eps)
    log_b = torch.zeros_like(mean)
    low, high = torch.full_like(mean, -20.0), torch.full_like(mean, 40.0)
    for _ in range(STEPS):
        b = log_b.exp()
        p = squares.mul(-b[:, None]).exp_().masked_fill_(absent, 0)
        total = p.sum(dim=1)
        first = torch.linalg.vecdot(p, squares) / total
        second = torch.linalg.vecdot(p.mul_(squares), squares) / total
        excess = total.log() + b * first - wanted
        if bool((excess.abs() <= tolerance).all()):
            break
        low = log_b.where(excess > 0, low)
        high = log_b.where(excess <= 0, high)
        slope = -(b.square()) * (second - first.square())
        newton = log_b - excess / slope
        inside = (newton > low) & (newton < high)
        log_b = newton.where(inside, (low + high) / 2)
    return log_b.exp() / unit
