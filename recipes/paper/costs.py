"""What a step of each loss costs."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rkdo_plugin.plugins.create import create_loss
from rkdo_plugin.recipes.paper.images import PaperImages
from rkdo_plugin.recipes.paper.protocol import ICON, NAMES, OPTIONS, RKDO, Protocol
from rkdo_plugin.recipes.paper.run import PaperRun

REPETITIONS = 11


@dataclass(frozen=True)
class Cost:
    """Of one training step.

    Attributes:
        loss: Its name.
        seconds: Median by the clock.
        flops: Of matrix products and convolutions, forward and backward, as PyTorch
            counts them; element-wise arithmetic is not in it.
    """

    loss: str
    seconds: float
    flops: int


def step_costs(
    images: PaperImages, protocol: Protocol, repetitions: int = REPETITIONS
) -> list[Cost]:
    """Time the losses in turn, on one encoder.

    Args:
        images: What steps are made of.
        protocol: The encoder and the size of a batch.
        repetitions: Number of timed steps of each loss.
    """
    trained = PaperRun(images, protocol, seed=0)
    batch = images.train[: protocol.batch_size]
    criteria = dict(_criteria())
    flops = {}
    for name, criterion in criteria.items():  # a first step is slower, too
        with FlopCounterMode(display=False) as counter:
            trained.step(criterion, batch)
        flops[name] = counter.get_total_flops()
    seconds: Mapping[str, list[float]] = {name: [] for name in criteria}
    for _ in range(repetitions):
        for name, criterion in criteria.items():
            started = time.perf_counter()
            trained.step(criterion, batch)
            seconds[name].append(time.perf_counter() - started)
    return [Cost(name, median(seconds[name]), flops[name]) for name in criteria]


def _criteria() -> Iterator[tuple[str, nn.Module]]:
    for name in (ICON, RKDO):
        yield NAMES[name], create_loss(name, **OPTIONS[name])
    yield f"{NAMES[RKDO]}, depth 1", create_loss(RKDO, **{**OPTIONS[RKDO], "depth": 1})
