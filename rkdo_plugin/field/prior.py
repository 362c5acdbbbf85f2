"""What a log-linear field keeps of its first features: 32 numbers a sample."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rkdo_plugin.factors import unit_rows
from rkdo_plugin.field.search import Bank

RANK = 32
CHUNK = 2**22  # numbers in float64 at a time


def gram_factors(unit: Tensor) -> Tensor:
    r"""Rows whose products are, as nearly as rank 32 allows, the cosines of features.

        U = sum_r s_r a_r v_r^T,    found = U (v_1 ... v_32)

    v are the right singular vectors of the unit rows U, which are not centred. The rows
    found are divided by their norms: otherwise those that lie well in the subspace
    would be near to all others. Their products are exact for F <= 32.

    Args:
        unit: (N, F) float32 unit vectors, or zeros.

    Returns:
        (N, 32) float16, zeros beyond F. It takes F x F numbers in float64 on the way.
    """
    chunks = torch.split(unit, max(1, CHUNK // unit.shape[1]))
    moment = unit.new_zeros(unit.shape[1], unit.shape[1], dtype=torch.float64)
    for chunk in chunks:
        moment.addmm_(chunk.double().T, chunk.double())
    largest = torch.linalg.eigh(moment).eigenvectors[:, -RANK:]
    found = unit.new_zeros(len(unit), RANK, dtype=torch.float16)
    for chunk, rows in zip(chunks, torch.split(found, len(chunks[0])), strict=True):
        rows[:, : largest.shape[1]] = unit_rows(chunk.double() @ largest)
    return found


@dataclass(frozen=True)
class SideBySide:
    """Two banks (N, P) and (N, D) as one (N, P + D), joined in the rows that are read.

    A product of its rows is the sum of the products of both.
    """

    left: Bank
    right: Bank

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """The rows of an index (B,), along dimension 0."""
        parts = [bank.index_select(dim, index) for bank in (self.left, self.right)]
        return torch.cat(parts, dim=1)
