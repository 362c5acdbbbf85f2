"""What a loss costs beside Lightly's NT-Xent."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from lightly.loss import NTXentLoss
from torch import nn

from rkdo_plugin.losses import IConLoss, RKDOLoss

CRITERIA: dict[str, Callable[[], nn.Module]] = {
    "ntxent": NTXentLoss,
    "icon": IConLoss,
    "icon cross": lambda: IConLoss(candidates="cross"),
    "rkdo": RKDOLoss,
}


@dataclass(frozen=True)
class Cost:
    """What one forward and backward pass of a criterion takes.

    Attributes:
        criterion: Key of `CRITERIA`.
        batch_size: B, for two views (B, D).
        milliseconds: Median over the repetitions.
        ratio: Milliseconds divided by those of Lightly's NT-Xent in the same run.
        mebibytes: Growth of the process's peak memory.
    """

    criterion: str
    batch_size: int
    milliseconds: float
    ratio: float
    mebibytes: float


def loss_costs(batch_size: int, dim: int, repetitions: int) -> list[Cost]:
    """Time every criterion at one batch size, one thread, interleaved.

    Args:
        batch_size: B, of two views (B, D).
        dim: D.
        repetitions: Timed passes of each criterion, after one that is not counted.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    criteria = {name: create() for name, create in CRITERIA.items()}
    seconds: dict[str, list[float]] = {name: [] for name in criteria}
    for _ in range(repetitions + 1):
        for name, criterion in criteria.items():
            seconds[name].append(_one_pass(criterion, batch_size, dim))
    torch.set_num_threads(threads)
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return [
        Cost(
            name,
            batch_size,
            1000 * median[name],
            median[name] / median["ntxent"],
            _peak_mebibytes(name, batch_size, dim),
        )
        for name in criteria
    ]


def _one_pass(criterion: nn.Module, batch_size: int, dim: int) -> float:
    generator = torch.Generator().manual_seed(0)
    z0, z1 = (
        torch.randn(batch_size, dim, generator=generator).requires_grad_()
        for _ in range(2)
    )
    started = time.perf_counter()
    criterion(z0, z1).backward()
    return time.perf_counter() - started


def _peak_mebibytes(name: str, batch_size: int, dim: int) -> float:
    """Measured in a fresh process, since a process keeps the peak of its past."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_growth, (name, batch_size, dim))


def _peak_growth(name: str, batch_size: int, dim: int) -> float:
    torch.set_num_threads(1)
    criterion = CRITERIA[name]()
    _one_pass(criterion, 8, dim)  # the first call loads libraries
    before = _peak()
    _one_pass(criterion, batch_size, dim)
    return _peak() - before


def _peak() -> float:
    """Peak resident memory of this process in MiB; not a number where not Linux.

    Not `ru_maxrss`: a new process inherits that from the one that started it.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        return float("nan")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
