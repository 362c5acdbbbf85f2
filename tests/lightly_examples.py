"""A training step of each of Lightly's example scripts, on a recipe's own networks."""

import torch
from lightly.models.utils import update_momentum


def simclr(net, views, momentum, epoch):
    z0, z1 = (net.projection_head(net.backbone(view)) for view in views)
    return net.criterion(z0, z1)


barlowtwins = vicreg = simclr


def byol(net, views, momentum, epoch):
    update_momentum(net.backbone, net.backbone_momentum, m=momentum)
    update_momentum(net.projection_head, net.projection_head_momentum, m=momentum)
    p0 = net.prediction_head(net.projection_head(net.backbone(views[0])))
    with torch.no_grad():
        z1 = net.projection_head_momentum(net.backbone_momentum(views[1]))
    p1 = net.prediction_head(net.projection_head(net.backbone(views[1])))
    with torch.no_grad():
        z0 = net.projection_head_momentum(net.backbone_momentum(views[0]))
    return 0.5 * (net.criterion(p0, z1) + net.criterion(p1, z0))


def moco(net, views, momentum, epoch):
    update_momentum(net.backbone, net.backbone_momentum, m=momentum)
    update_momentum(net.projection_head, net.projection_head_momentum, m=momentum)
    query = net.projection_head(net.backbone(views[0]))
    key = net.projection_head_momentum(net.backbone_momentum(views[1])).detach()
    return net.criterion(query, key)


def simsiam(net, views, momentum, epoch):
    z0, z1 = (net.projection_head(net.backbone(view)) for view in views)
    p0, p1 = net.prediction_head(z0), net.prediction_head(z1)
    z0, z1 = z0.detach(), z1.detach()
    return 0.5 * (net.criterion(z0, p1) + net.criterion(z1, p0))


def nnclr(net, views, momentum, epoch):
    z0, z1 = (net.projection_head(net.backbone(view)) for view in views)
    p0, p1 = net.prediction_head(z0), net.prediction_head(z1)
    z0 = net.memory_bank(z0.detach(), update=False)
    z1 = net.memory_bank(z1.detach(), update=True)
    return 0.5 * (net.criterion(z0, p1) + net.criterion(z1, p0))


def dino(net, views, momentum, epoch):
    update_momentum(net.student_backbone, net.teacher_backbone, m=momentum)
    update_momentum(net.student_head, net.teacher_head, m=momentum)
    with torch.no_grad():
        teacher = [net.teacher_head(net.teacher_backbone(v)) for v in views[:2]]
    student = [net.student_head(net.student_backbone(view)) for view in views]
    return net.criterion(teacher, student, epoch=epoch)
