"""Neighbours that there are not."""

import pytest
import torch

from rkdo_plugin import IConLoss, create_loss
from rkdo_plugin.supervision import Neighbors

Z = torch.randn(8, 3, generator=torch.manual_seed(0))
X = torch.randn(8, 5, generator=torch.manual_seed(1))


def test_more_neighbours_than_candidates_are_refused():
    with pytest.raises(ValueError, match="at least `k` = 8 candidates but got 7"):
        IConLoss(supervision=Neighbors(8))(Z, targets=X)
    with pytest.raises(ValueError, match="more samples than `components` = 8"):
        create_loss("spectral")(Z, targets=X)
