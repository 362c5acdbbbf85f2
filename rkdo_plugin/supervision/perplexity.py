"""The bandwidth at which a Gaussian's row has a given perplexity."""

import math

import torch
from torch import Tensor

STEPS = 100
TOLERANCE = 1e-6  # of the entropy, in nats, where the precision allows it

LONGEST_STEP = 1.5  # in log b
ABSENT = 1e30  # a distance whose similarity is 0, and finite: 0 times it is 0


def precision_of_perplexity(squared_distances: Tensor, perplexity: float) -> Tensor:
    """b_i such that softmax(-b_i d_i^2) has the entropy log(perplexity).

    Newton's method in log b: the entropy falls with b, and a step that leaves the
    bracket is replaced by half of it. Some rows cannot reach the perplexity, such as a
    row with more than `perplexity` candidates at the smallest distance. They end near
    the closest entropy that they can have.

    Args:
        squared_distances: (R, C), infinite where there is no candidate.
        perplexity: Above 1 and below the number of candidates.

    Returns:
        (R,), 1 / (2 sigma_i^2).
    """
    wanted = math.log(perplexity)
    absent = squared_distances.isinf()
    # Softmax ignores the shift, without which b d^2 of the nearest overflows.
    smallest = squared_distances.amin(dim=1, keepdim=True)
    squares = squared_distances - smallest
    counts = len(squares[0]) - absent.sum(dim=1)
    mean = squares.masked_fill(absent, 0).sum(dim=1) / counts
    # Rows in units of their own mean: b is then of order 1.
    unit = mean.where(mean > 0, 1)
    squares.div_(unit[:, None]).masked_fill_(absent, ABSENT)
    tolerance = max(TOLERANCE, 64 * torch.finfo(squares.dtype).eps)
    log_b = torch.zeros_like(mean)
    low, high = torch.full_like(mean, -20.0), torch.full_like(mean, 40.0)
    p = torch.empty_like(squares)
    for _ in range(STEPS):
        b = log_b.exp()
        torch.mul(squares, -b[:, None], out=p).exp_()
        total = p.sum(dim=1)
        first = torch.linalg.vecdot(p, squares) / total
        second = torch.linalg.vecdot(p.mul_(squares), squares) / total
        excess = total.log() + b * first - wanted
        found = excess.abs() <= tolerance
        if bool(found.all()):
            break
        low = log_b.where(excess > 0, low)
        high = log_b.where(excess <= 0, high)
        slope = -(b.square()) * (second - first.square())
        # Where the entropy is flat, Newton's step has no measure.
        newton = log_b - (excess / slope).clamp_(-LONGEST_STEP, LONGEST_STEP)
        inside = (newton > low) & (newton < high)
        log_b = log_b.where(found, newton.where(inside, (low + high) / 2))
    return log_b.exp() / unit
