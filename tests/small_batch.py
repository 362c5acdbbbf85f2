"""A small batch with what supervisions read, and its p as a whole matrix."""

import torch
from torch import Tensor

from rkdo_plugin import IConLoss
from rkdo_plugin.kernels import Dot

B, D, F = 7, 3, 4
GENERATOR = torch.manual_seed(0)
Z0, Z1 = torch.randn(2, B, D, dtype=torch.float64, generator=GENERATOR).unbind()
X = torch.randn(B, F, dtype=torch.float64, generator=GENERATOR)
LABELS = torch.tensor([0, 1, 0, 1, 2, 2, 0])


def matrix(supervision, targets, candidates="all", z1=None, debias=0.0) -> Tensor:
    """P as a whole."""
    criterion = IConLoss(1.0, supervision, Dot(), debias=debias, candidates=candidates)
    target, learned = criterion.p_and_q(Z0, z1, targets, None)
    return target.rows(slice(0, len(learned.comparison.anchors)))
