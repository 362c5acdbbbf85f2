"""SimCLR's loss by its negatives: half of the products suffice to sum them.

Of N = 2B stacked views u, the negatives of view i are all but itself and its other view
i'. With v = u / sqrt(tau) and s_i = v_i . v_i',

    R_i = sum_j E_ij over the negatives,    E_ij = exp(v_i . v_j)
    KL_i = -log q(i'|i) = -log sigmoid(s_i - log R_i)

E is symmetric: a tile above the diagonal serves its rows and its columns. Where not all
of E may be held, the gradient computes the tiles again, one at a time.
"""

import math
from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rkdo_plugin.rowwise import chunk_elements, refuse_second_derivative

# Least number of tiles of a side. Two spare a quarter of the products, and one launches
# fewer kernels, which is what takes time on a GPU.
CPU_TILES = 2


def pair_divergence(unit: Tensor, temperature: float) -> Tensor:
    """Mean over all views of KL(p || q), where all of p is on the other view.

    Args:
        unit: Unit vectors (2B, D): the first views, then the second.
        temperature: tau, for which E is `representable`.

    Returns:
        A scalar that is differentiable once.
    """
    views = unit * temperature**-0.5
    first, second = views.chunk(2)
    s = torch.linalg.vecdot(first, second)
    log_r: Tensor = _LogNegatives.apply(views)
    return -logsigmoid(torch.cat([s, s]) - log_r).mean()


def representable(views: int, temperature: float, dtype: torch.dtype) -> bool:
    """Whether R and 1 / R are normal numbers, for any unit vectors (N, D)."""
    return 1 / temperature + math.log(views) < -math.log(torch.finfo(dtype).tiny)


class _LogNegatives(torch.autograd.Function):
    """Log R (N,) of v (N, D).

    sum_i g_i log R_i has the gradient W v, W_ij = E_ij (g_i / R_i + g_j / R_j).
    """

    @staticmethod
    def forward(ctx: Any, views: Tensor) -> Tensor:
        n = len(views)
        r = views.new_zeros(n)
        held = None
        if n * n <= chunk_elements(views.device):
            held = views.new_empty(n, n)  # of which no tile below the diagonal is set
        for rows, columns, weights in _tiles(views, held):
            r[rows].add_(weights.sum(dim=1))
            if columns != rows:
                r[columns].add_(weights.sum(dim=0))
        ctx.save_for_backward(views, r, held)
        return r.log()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        refuse_second_derivative()
        views, r, held = ctx.saved_tensors
        share = grad / r
        views_grad = torch.zeros_like(views)
        buffer = _buffer(views)
        tiles = _tiles(views, None)
        if held is not None:
            tiles = (
                (rows, columns, held[rows, columns]) for rows, columns in _places(views)
            )
        for rows, columns, weights in tiles:
            slope = buffer[: weights.shape[0], : weights.shape[1]]
            torch.add(share[rows, None], share[columns], out=slope).mul_(weights)
            views_grad[rows].addmm_(slope, views[columns])
            if columns != rows:
                views_grad[columns].addmm_(slope.T, views[rows])
        return views_grad


def _side(views: Tensor) -> int:
    """Number of rows of a tile."""
    least = CPU_TILES if views.device.type == "cpu" else 1
    return min(-(-len(views) // least), math.isqrt(chunk_elements(views.device)))


def _buffer(views: Tensor) -> Tensor:
    """Room for one tile."""
    side = _side(views)
    return views.new_empty(side, side)


def _places(views: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of each tile on and above the diagonal."""
    n, side = len(views), _side(views)
    slices = [slice(start, min(start + side, n)) for start in range(0, n, side)]
    return combinations_with_replacement(slices, 2)


def _tiles(views: Tensor, held: Tensor | None) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows, columns and E of each tile on and above the diagonal.

    E is 0 where j is no negative of i. It is written into `held` (N, N), or else over
    the tile before.
    """
    buffer, n = _buffer(views), len(views)
    for rows, columns in _places(views):
        r, c = rows.stop - rows.start, columns.stop - columns.start
        weights = buffer[:r, :c] if held is None else held[rows, columns]
        torch.mm(views[rows], views[columns].T, out=weights).exp_()
        for apart in (-n // 2, 0, n // 2):  # j - i of no negatives
            offset = rows.start - columns.start + apart
            if -r < offset < c:
                weights.diagonal(offset).zero_()
        yield rows, columns, weights
