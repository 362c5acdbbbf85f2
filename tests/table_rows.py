"""Every row of I-Con's table on a small batch, and how it is called."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rkdo_plugin import IConLoss, create_loss
from rkdo_plugin.plugins.builtin import rkdo_losses

B, D, C = 12, 3, 5
PRESETS = [name for name, place in rkdo_losses().items() if ".presets." in place]
GENERATOR = torch.manual_seed(0)


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=GENERATOR)


FEATURES = randn(B, 4)
LABELS = torch.arange(B) % 5
LABELS[-1] = 9  # occurs once


@dataclass
class Call:
    """What a criterion is given: embeddings with gradient, others, and targets."""

    views: tuple[Tensor, ...]
    targets: Tensor | None = None
    other: Tensor | None = None


def two(targets: Tensor | None = None) -> Call:
    return Call((randn(B, D), randn(B, D)), targets)


def one(targets: Tensor | None = FEATURES, dim: int = D) -> Call:
    return Call((randn(B, dim),), targets)


def classes() -> Call:
    targets = torch.arange(B) % C
    targets[3] = -100
    return Call((randn(B, D), randn(C, D)), targets)


CALLS = {
    "clip": two(),
    "cmc": two(),
    "cross-entropy": classes(),
    "harmonic": classes(),
    "infonce-clustering": one(),
    "k-means": one(),
    "lgsimclr": one(),
    "mlm": classes(),
    "moco": Call((randn(B, D),), other=randn(B, D)),
    "normalized-cuts": one(),
    "pca": one(),
    "pmi-clustering": two(),
    "simclr": two(),
    "sne": one(dim=2),
    "spectral": one(),
    "supcon": two(LABELS),
    "t-simclr": two(),
    "t-sne": one(dim=2),
    "triplet": two(),
    "vicreg": two(),
    "x-sample": two(FEATURES),
}
OPTIONS = {
    "moco": {"memory_bank_size": (7, D)},
    "sne": {"perplexity": 4.0},
    "spectral": {"components": 2, "neighbors": 4},
    "t-sne": {"perplexity": 4.0},
}


def create(name: str) -> IConLoss:
    torch.manual_seed(1)
    criterion: IConLoss = create_loss(name, **OPTIONS.get(name, {}))
    return criterion.double()


def call(criterion: torch.nn.Module, name: str, *views: Tensor) -> Tensor:
    z1 = views[1] if len(views) > 1 else CALLS[name].other
    loss: Tensor = criterion(views[0], z1, targets=CALLS[name].targets)
    return loss
