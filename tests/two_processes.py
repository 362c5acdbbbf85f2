"""What each process of losses/test_distributed.py runs; spawn imports it by name."""

from types import SimpleNamespace

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from rkdo_plugin import IConLoss, RecursiveLoss, RKDOLoss, create_loss
from rkdo_plugin.field.callback import _of_all
from rkdo_plugin.kernels import Clusters, Dot, StudentT
from rkdo_plugin.supervision import (
    Classes,
    GaussianAffinity,
    Labels,
    Neighbors,
    Perplexity,
    Similarity,
)

CRITERIA = {
    "icon": lambda: IConLoss(0.2, gather_distributed=True),
    "icon-student": lambda: IConLoss(
        kernel="student_t", debias=0.2, candidates="cross", gather_distributed=True
    ),
    "rkdo": lambda: RKDOLoss(gather_distributed=True),
    "rkdo-symmetric": lambda: RKDOLoss(symmetric=True, gather_distributed=True),
    "rkdo-all": lambda: RKDOLoss(candidates="all", gather_distributed=True),
}


COUNT = 12  # rows of the whole batch, for 2 and for 3 processes
FEATURES = torch.randn(COUNT, 3, dtype=torch.float64, generator=torch.manual_seed(1))
LABELS = torch.tensor([0, 1, 0, 2, 1, 1, 3, 0, 0, 1, 1, 0])  # 2 and 3 occur once
MASKED = torch.tensor([0, -100, -100, -100, 1, 3, -100, 2, 1, -100, 0, 0])

# Losses of one view and `targets`, with what they read.
ROWS = {
    "supcon": (lambda: IConLoss(0.2, Labels(), gather_distributed=True), LABELS),
    "neighbors": (
        lambda: IConLoss(0.2, Neighbors(2), gather_distributed=True),
        FEATURES,
    ),
    "x-sample": (
        lambda: IConLoss(0.2, Similarity(), gather_distributed=True),
        FEATURES,
    ),
    "tokens": (lambda: Tokens(), MASKED),
    "t-sne": (lambda: t_sne(), FEATURES),
    "rkdo-t-sne": (lambda: RecursiveLoss(t_sne()), FEATURES),
    "cuts": (lambda: cuts(), FEATURES),
    "rkdo-cuts": (lambda: RecursiveLoss(cuts()), FEATURES),
}


class Tokens(torch.nn.Module):
    """Masked language modelling with embeddings of the tokens that are given."""

    def forward(self, contexts, targets):
        tokens = torch.randn(4, 5, dtype=torch.float64, generator=torch.manual_seed(2))
        criterion = IConLoss(1.0, Classes(), Dot(), gather_distributed=True)
        return criterion(contexts, tokens, targets)


def t_sne():
    return IConLoss(
        1.0, Perplexity(3.0), StudentT(), gather_distributed=True, joint=True
    )


def cuts():
    return IConLoss(
        1.0,
        GaussianAffinity(degrees=True),
        Clusters(),
        candidates="with_self",
        gather_distributed=True,
    )


def embeddings():
    return torch.randn(2, COUNT, 5, dtype=torch.float64, generator=torch.manual_seed(0))


def weight_gradient(name, z, weight):
    loss = CRITERIA[name]()(*(z @ weight).unbind())
    return loss.detach(), torch.autograd.grad(loss, weight)[0]


def row_gradient(name, samples, weight):
    create, targets = ROWS[name]
    loss = create()(embeddings()[0, samples] @ weight, targets=targets[samples])
    return loss.detach(), torch.autograd.grad(loss, weight)[0]


def uneven(rank):
    """What comes of 3 rows in one process, 4 in the next and 5 in the third."""
    rows = embeddings()[:, [slice(0, 3), slice(3, 7), slice(7, 12)][rank]]
    found = {}
    criteria = {"icon": IConLoss(gather_distributed=True), "moco": moco()}
    for name, criterion in criteria.items():
        try:
            criterion(*rows)
        except ValueError as error:
            found[f"uneven {name}"] = str(error)
    trainer = SimpleNamespace(strategy=DDPStrategy())
    counts = trainer.strategy.all_gather(torch.tensor(rows.shape[1]))
    found["uneven rows"] = _of_all(trainer, rows[0], counts)
    return found


def moco():
    return create_loss("moco", memory_bank_size=(9, 5), gather_distributed=True)


def sharded_gradient(name, z, processes):
    """As `weight_gradient`, of a layer whose weights FSDP shares out."""
    layer = torch.nn.Linear(5, 5, bias=False, dtype=z.dtype)
    torch.nn.init.eye_(layer.weight)
    fully_shard(layer, mesh=init_device_mesh("cpu", (processes,)))
    CRITERIA[name]()(*layer(z).unbind()).backward()
    return layer.weight.grad.full_tensor().T


def part_of_batch(rank, processes, store, results):
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=processes
    )
    found = {}
    size = COUNT // processes
    for name in [*CRITERIA, *ROWS]:
        weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
        part = slice(size * rank, size * (rank + 1))
        if name in ROWS:
            loss, grad = row_gradient(name, part, weight)
        else:
            loss, grad = weight_gradient(name, embeddings()[:, part], weight)
        for mean in (loss, grad):  # as DistributedDataParallel averages
            dist.all_reduce(mean)
            mean /= processes
        found[name] = loss, grad
        if name in CRITERIA:
            rows = embeddings()[:, part]
            found[f"sharded {name}"] = sharded_gradient(name, rows, processes)
    found |= uneven(rank)
    if rank == 0:
        torch.save(found, results)
    dist.destroy_process_group()
