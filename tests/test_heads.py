import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead

from rkdo_plugin import IConLoss, LossHead, create_loss


def test_a_head_is_its_projection_followed_by_its_criterion():
    projection = SimCLRProjectionHead(12, 8, 6).double()
    f0, f1 = torch.randn(2, 16, 12, dtype=torch.float64).unbind()
    torch.testing.assert_close(
        LossHead(projection, IConLoss(0.2))(f0, f1),
        NTXentLoss(0.2)(projection(f0), projection(f1)),
    )


def test_a_head_hands_on_targets_and_one_view():
    torch.manual_seed(0)
    projection = torch.nn.Linear(6, 3)
    f0, f1, labels = torch.randn(8, 6), torch.randn(8, 6), torch.arange(8) % 3
    head = LossHead(projection, create_loss("supcon"))
    expected = create_loss("supcon")(projection(f0), projection(f1), labels)
    torch.testing.assert_close(head(f0, f1, labels), expected)
    one = create_loss("supcon")(projection(f0), targets=labels)
    torch.testing.assert_close(head(f0, targets=labels), one)
