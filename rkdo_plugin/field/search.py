"""Nearest neighbours by cosine similarity, in chunks: never N x N."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from rkdo_plugin.field.rows import UNFILLED

SEARCHES = ("exact", "sampled")
CHUNK = 2**22  # similarities in memory at a time
QUERIES = 1024  # samples of all that are searched at a time
GROUP = 16  # similarities in a group, whose largest is ranked first


class Bank(Protocol):
    """Rows (N, D) that are read in parts; a tensor is one."""

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        """The rows of an index (B,), along dimension 0."""


def exact_neighbors(
    queries: Tensor, bank: Bank, valid: Tensor, own: Tensor, neighbors: int
) -> tuple[Tensor, Tensor]:
    """The most similar bank rows of each query.

    Args:
        queries: (B, D) float32; unit vectors, if the products are to be cosines.
        bank: (N, D) likewise, any floating dtype.
        valid: (N,) bool, the rows that count.
        own: (B,) int64, each query's own row, which is no neighbour of itself.
        neighbors: k, less than N.

    Returns:
        ids (B, k) int64 and similarities (B, k) float32, most similar first; where
        fewer than k rows count, the id is -1 and the similarity -inf.
    """
    return _nearest(queries, bank, valid.nonzero()[:, 0], own, neighbors)


def neighbors_of_all(
    unit: Tensor, valid: Tensor, neighbors: int
) -> tuple[Tensor, Tensor]:
    """The most similar samples of every sample.

    Args:
        unit: (N, D) float32 unit vectors.
        valid: (N,) bool, the samples that count.
        neighbors: k, less than N.

    Returns:
        ids (N, k) and similarities (N, k), as `exact_neighbors` gives them.
    """
    found = [
        exact_neighbors(unit[own], unit, valid, own, neighbors)
        for own in torch.split(torch.arange(len(unit), device=unit.device), QUERIES)
    ]
    return torch.cat([ids for ids, _ in found]), torch.cat([s for _, s in found])


def sampled_neighbors(
    queries: Tensor,
    bank: Bank,
    valid: Tensor,
    own: Tensor,
    neighbors: int,
    sampled: Tensor,
    current: Tensor,
) -> tuple[Tensor, Tensor]:
    """The most similar among sampled rows, the queries and each query's current row.

    Args:
        queries: (B, D) float32; unit vectors, if the products are to be cosines.
        bank: (N, D) likewise, any floating dtype.
        valid: (N,) bool, the rows that count.
        own: (B,) int64, each query's own row, which is no neighbour of itself.
        neighbors: k, less than N.
        sampled: (S,) int64, rows that every query is compared with.
        current: (B, k) int64, each query's neighbours so far, -1 where there is none.

    Returns:
        As `exact_neighbors`.
    """
    shared = torch.unique(torch.cat([sampled, own]))
    known = shared[valid[shared]]
    ids, similarities = _nearest(queries, bank, known, own, neighbors)

    current = current.to(queries.device)
    rows = current.clamp_min(0)
    counts = (current != UNFILLED) & valid[rows] & ~torch.isin(rows, shared)
    stored = bank.index_select(0, rows.flatten()).view(*rows.shape, -1)
    of_row = torch.einsum("bd,bkd->bk", queries, stored.to(queries.dtype))
    of_row.masked_fill_(~counts, -torch.inf)
    return most_similar(
        torch.cat([ids, rows], dim=1),
        torch.cat([similarities, of_row], dim=1),
        neighbors,
    )


def _nearest(
    queries: Tensor, bank: Bank, rows: Tensor, own: Tensor, neighbors: int
) -> tuple[Tensor, Tensor]:
    """The most similar of sorted rows (C,), without each query's own."""
    itself = torch.searchsorted(rows, own)
    among = torch.searchsorted(rows, own, right=True) > itself
    step = max(1, CHUNK // max(1, len(queries)))
    ids, similarities = [], []
    for start in range(0, max(1, len(rows)), step):
        some = rows[start : start + step]
        # index_select copies whole rows; indexing would fetch them element by element.
        # Rows that do not count are left out: to mask them takes twice the search.
        products = queries @ bank.index_select(0, some).to(queries.dtype).T
        inside = among & (itself >= start) & (itself < start + len(some))
        products[inside, itself[inside] - start] = -torch.inf
        best, column = _largest(products, neighbors)
        similarities.append(best)
        ids.append(some[column])
    return most_similar(
        torch.cat(ids, dim=1), torch.cat(similarities, dim=1), neighbors
    )


def _largest(products: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """`products.topk(count, dim=1)`, or all columns where there are fewer.

    On the CPU `topk` takes as long as the matrix product. This is faster: the largest
    values lie in the groups whose maxima are the largest, and finding those maxima is
    vectorised.
    """
    columns = products.shape[1]
    groups = columns // GROUP
    if groups <= count:
        return products.topk(min(count, columns), dim=1)
    grouped = products[:, : groups * GROUP].view(-1, GROUP, groups)
    chosen = grouped.amax(dim=1).topk(count, dim=1).indices
    members = torch.arange(0, groups * GROUP, groups, device=products.device)
    rest = torch.arange(groups * GROUP, columns, device=products.device)
    candidates = torch.cat(
        [
            (chosen[:, :, None] + members).flatten(1),
            rest.expand(len(products), -1),
        ],
        dim=1,
    )
    best, which = products.gather(1, candidates).topk(count, dim=1)
    return best, candidates.gather(1, which)


def most_similar(
    ids: Tensor, similarities: Tensor, neighbors: int
) -> tuple[Tensor, Tensor]:
    """The most similar of candidates (B, C), as `exact_neighbors` gives them."""
    similarities, order = similarities.topk(min(neighbors, ids.shape[1]), dim=1)
    ids = ids.gather(1, order)
    missing = (0, neighbors - ids.shape[1])
    similarities = pad(similarities, missing, value=-torch.inf)
    ids = pad(ids, missing, value=UNFILLED)
    return ids.masked_fill(similarities == -torch.inf, UNFILLED), similarities
