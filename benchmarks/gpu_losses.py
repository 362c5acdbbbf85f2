"""The losses of benchmarks/gpu.py: ours beside Lightly's NT-Xent."""

from collections.abc import Callable, Iterator

import torch
from gpu_rows import NO_TIME, Budget, Clock, Row, Sizes

from rkdo_plugin.losses.benchmark import CRITERIA

SECTION = "losses"


def losses(clock: Clock, sizes: Sizes, budget: Budget) -> Iterator[Row]:
    """Forward and backward, float32, embeddings ready on the device."""
    for batch in sizes.loss_batches:
        for name in CRITERIA:
            row = Row(SECTION, name, f"B = {batch}")
            if budget.left < 0:
                row.note = NO_TIME
                yield row
            else:
                yield clock.measure(row, one_pass(name, batch, sizes.dim, clock.device))


def one_pass(
    name: str, batch: int, dim: int, device: torch.device
) -> Callable[[], None]:
    """A forward and backward pass of a criterion."""
    criterion = CRITERIA[name]().to(device)
    generator = torch.Generator().manual_seed(0)
    z0, z1 = (
        torch.randn(batch, dim, generator=generator).to(device).requires_grad_()
        for _ in range(2)
    )

    def call() -> None:
        z0.grad = z1.grad = None
        criterion(z0, z1).backward()

    return call
