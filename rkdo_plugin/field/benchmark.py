"""What a response field costs as the data set grows: `rkdo benchmark field`."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from rkdo_plugin.field.response_field import ResponseField

EXACT_REPETITIONS = 3  # seconds each at a million samples
FILL = 2**16  # embeddings drawn at a time


@dataclass(frozen=True)
class FieldCost:
    """What a field of N samples takes.

    Attributes:
        num_samples: N.
        mebibytes: Size of all its tensors.
        sampled: Median milliseconds of an update with the sampled search.
        exact: Median milliseconds of an update with the exact search.
        draw: Median milliseconds to draw a batch's partners.
    """

    num_samples: int
    mebibytes: float
    sampled: float
    exact: float
    draw: float


def field_costs(
    sizes: tuple[int, ...], dim: int, batch_size: int, repetitions: int
) -> list[FieldCost]:
    """Time a field's update and draws at several N, one thread, interleaved.

    Every sample has a random embedding and a full row. Each pass takes another random
    batch. The first pass of each kind is not counted.

    Args:
        sizes: Values of N.
        dim: D.
        batch_size: B.
        repetitions: Timed passes, of the exact search at most 3.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    fields = [filled_field(size, dim) for size in sizes]
    seconds: dict[tuple[str, int], list[float]] = {}
    for repetition in range(repetitions + 1):
        kinds = ["sampled", "draw"]
        kinds += ["exact"] if repetition <= EXACT_REPETITIONS else []
        for kind in kinds:
            for field in fields:
                generator = torch.Generator().manual_seed(repetition)
                index = torch.randint(
                    field.num_samples, (batch_size,), generator=generator
                )
                z = torch.randn(batch_size, dim, generator=generator)
                elapsed = _seconds(kind, field, index, z)
                seconds.setdefault((kind, field.num_samples), []).append(elapsed)
    torch.set_num_threads(threads)

    def median(kind: str, size: int) -> float:
        return 1000 * statistics.median(seconds[kind, size][1:])

    return [
        FieldCost(
            field.num_samples,
            sum(t.numel() * t.element_size() for t in field.buffers()) / 2**20,
            *(median(kind, field.num_samples) for kind in ("sampled", "exact", "draw")),
        )
        for field in fields
    ]


def _seconds(kind: str, field: ResponseField, index: Tensor, z: Tensor) -> float:
    field.search = "exact" if kind == "exact" else "sampled"
    call: Callable[[], object] = (
        (lambda: field.sample(index))
        if kind == "draw"
        else (lambda: field.update(index, z))
    )
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def filled_field(num_samples: int, dim: int) -> ResponseField:
    """A field in which every sample has a random embedding and a full row.

    Args:
        num_samples: N.
        dim: D.
    """
    field = ResponseField(num_samples, dim)
    generator = torch.Generator().manual_seed(0)
    for rows in torch.split(field.embeddings, FILL):
        rows.copy_(
            functional.normalize(torch.randn(rows.shape, generator=generator), dim=1)
        )
    field.valid.fill_(True)
    # Neighbours far apart in memory, as they are in a shuffled data set.
    steps = torch.randint(1, num_samples // 16, (field.neighbors,), generator=generator)
    samples = torch.arange(num_samples)[:, None]
    field.ids.copy_((samples + steps.cumsum(dim=0)) % num_samples)
    field.weights.fill_(1 / field.neighbors)
    field.self_mass.zero_()
    return field
