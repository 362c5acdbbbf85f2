"""Nearest neighbours by cosine similarity, in chunks: never N x N."""

import torch
from torch import Tensor

from rkdo_plugin.field.rows import UNFILLED

CHUNK = 2**22  # similarities in memory at a time


def exact_neighbors(
    queries: Tensor, bank: Tensor, valid: Tensor | None, own: Tensor, neighbors: int
) -> tuple[Tensor, Tensor]:
    """The most similar bank rows of each query.

    Args:
        queries: (B, D) float32 unit vectors.
        bank: (N, D) unit vectors, any floating dtype.
        valid: (N,) bool, the rows that count; all when not given.
        own: (B,) int64, each query's own row, which is no neighbour of itself.
        neighbors: k.

    Returns:
        ids (B, k) int64 and similarities (B, k) float32, most similar first; where
        fewer than k rows count, the id is -1 and the similarity -inf.
    """
    step = max(1, CHUNK // max(1, len(queries)))
    ids, similarities = [], []
    for start in range(0, len(bank), step):
        chunk = bank[start : start + step].to(queries.dtype)
        products = queries @ chunk.T
        if valid is not None:
            products.masked_fill_(~valid[start : start + step], -torch.inf)
        inside = ((own >= start) & (own < start + len(chunk))).nonzero()[:, 0]
        products[inside, own[inside] - start] = -torch.inf
        best, column = products.topk(min(neighbors, len(chunk)), dim=1)
        similarities.append(best)
        ids.append(column + start)
    return _best(torch.cat(ids, dim=1), torch.cat(similarities, dim=1), neighbors)


def sampled_neighbors(
    queries: Tensor,
    bank: Tensor,
    valid: Tensor,
    own: Tensor,
    current: Tensor,
    sampled: Tensor,
    neighbors: int,
) -> tuple[Tensor, Tensor]:
    """The most similar among sampled rows, the queries and each query's current row.

    Args:
        queries: (B, D) float32 unit vectors.
        bank: (N, D) unit vectors, any floating dtype.
        valid: (N,) bool, the rows that count.
        own: (B,) int64, each query's own row, which is no neighbour of itself.
        current: (B, k) int64, each query's neighbours so far, -1 where there is none.
        sampled: (S,) int64, rows that every query is compared with.
        neighbors: k.

    Returns:
        As `exact_neighbors`.
    """
    shared = torch.unique(torch.cat([sampled, own]))
    products = queries @ bank[shared].to(queries.dtype).T
    products.masked_fill_(~valid[shared], -torch.inf)
    products[torch.arange(len(own)), torch.searchsorted(shared, own)] = -torch.inf
    similarities, column = products.topk(min(neighbors, len(shared)), dim=1)
    ids = shared[column]

    rows = current.clamp_min(0)
    counts = (current != UNFILLED) & valid[rows] & ~torch.isin(rows, shared)
    of_row = torch.einsum("bd,bkd->bk", queries, bank[rows].to(queries.dtype))
    of_row.masked_fill_(~counts, -torch.inf)
    return _best(
        torch.cat([ids, rows], dim=1),
        torch.cat([similarities, of_row], dim=1),
        neighbors,
    )


def _best(ids: Tensor, similarities: Tensor, neighbors: int) -> tuple[Tensor, Tensor]:
    similarities, order = similarities.topk(neighbors, dim=1)
    ids = ids.gather(1, order)
    return ids.masked_fill(similarities == -torch.inf, UNFILLED), similarities
