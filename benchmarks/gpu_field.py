"""The field of benchmarks/gpu.py: updates with both searches, as N grows."""

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from gpu_rows import NO_TIME, Budget, Clock, Row, Sizes

from rkdo_plugin.field.benchmark import filled_field
from rkdo_plugin.field.search import SEARCHES

SECTION = "field"
SHARED = Path("/dev/shm")
ROW_BYTES = 100  # of a sample's row, with 8 neighbours, and some room


def field(clock: Clock, sizes: Sizes, budget: Budget) -> Iterator[Row]:
    """Update a batch of rows; embeddings on the device, rows in shared memory."""
    for samples in sizes.field_samples:
        rows = [Row(SECTION, way(search), f"N = {samples:,}") for search in SEARCHES]
        short = budget.left < 0
        if short or not has_room(samples):
            for row in rows:
                row.note = NO_TIME if short else f"{SHARED} is too small"
            yield from rows
            continue
        bank = filled_field(samples, sizes.dim).to(clock.device)
        generator = torch.Generator().manual_seed(0)
        size = (sizes.field_batch,)
        index = torch.randint(samples, size, generator=generator).to(clock.device)
        z = torch.randn(*size, sizes.dim, generator=generator).to(clock.device)
        for search, row in zip(SEARCHES, rows, strict=True):
            bank.search = search
            yield clock.measure(row, partial(bank.update, index, z))


def way(search: str) -> str:
    """The name of a row."""
    return f"update, {search} search"


def has_room(samples: int) -> bool:
    """Whether shared memory holds the rows: where it does not, the process dies."""
    if not SHARED.is_dir():
        return True
    return shutil.disk_usage(SHARED).free > ROW_BYTES * samples
