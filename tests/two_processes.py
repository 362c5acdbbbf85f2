"""What each process of test_distributed.py runs; spawn imports it by this name."""

import torch
from torch import distributed as dist

from rkdo_plugin import IConLoss, RKDOLoss

CRITERIA = {
    "icon": lambda: IConLoss(0.2, gather_distributed=True),
    "icon-student": lambda: IConLoss(
        kernel="student_t", debias=0.2, candidates="cross", gather_distributed=True
    ),
    "rkdo": lambda: RKDOLoss(gather_distributed=True),
    "rkdo-symmetric": lambda: RKDOLoss(symmetric=True, gather_distributed=True),
    "rkdo-all": lambda: RKDOLoss(candidates="all", gather_distributed=True),
}


def embeddings():
    return torch.randn(2, 8, 5, dtype=torch.float64, generator=torch.manual_seed(0))


def weight_gradient(name, z, weight):
    loss = CRITERIA[name]()(*(z @ weight).unbind())
    return loss.detach(), torch.autograd.grad(loss, weight)[0]


def half_batch(rank, store, results):
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    found = {}
    for name in CRITERIA:
        weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
        loss, grad = weight_gradient(name, embeddings()[:, 4 * rank :][:, :4], weight)
        for mean in (loss, grad):  # as DistributedDataParallel averages
            dist.all_reduce(mean)
            mean /= 2
        found[name] = loss, grad
    if rank == 0:
        torch.save(found, results)
    dist.destroy_process_group()
