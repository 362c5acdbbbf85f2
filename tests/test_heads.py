import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead

from rkdo_plugin import IConLoss, LossHead


def test_a_head_is_its_projection_followed_by_its_criterion():
    projection = SimCLRProjectionHead(12, 8, 6).double()
    f0, f1 = torch.randn(2, 16, 12, dtype=torch.float64).unbind()
    torch.testing.assert_close(
        LossHead(projection, IConLoss(0.2))(f0, f1),
        NTXentLoss(0.2)(projection(f0), projection(f1)),
    )
