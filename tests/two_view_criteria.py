"""Every kind of criterion of two views, and what one gives."""

import pytest
import torch

from rkdo_plugin import IConLoss, RKDOLoss

CRITERIA = {
    "icon": lambda t=0.5: IConLoss(t),
    "icon-cross": lambda t=0.5: IConLoss(t, candidates="cross"),
    "icon-student-debias": lambda t=0.5: IConLoss(t, kernel="student_t", debias=0.2),
    "rkdo": lambda t=0.5: RKDOLoss(t),
    "rkdo-all": lambda t=0.5: RKDOLoss(t, candidates="all"),
    "rkdo-detached": lambda t=0.5: RKDOLoss(t, detach_target=True),
}
every_criterion = pytest.mark.parametrize(
    "create", CRITERIA.values(), ids=CRITERIA.keys()
)


def randn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.manual_seed(0))


def value_and_gradients(criterion, z0, z1):
    z0, z1 = z0.detach().requires_grad_(), z1.detach().requires_grad_()
    loss = criterion(z0, z1)
    return (loss.detach(), *torch.autograd.grad(loss, (z0, z1)))
