"""Growth of the peak memory of one forward and backward pass of every row.

    python benchmarks/memory.py [batch size]

D = 128, float32, one thread, a fresh process a row; Linux.
"""

import sys
from multiprocessing import get_context
from pathlib import Path

import torch

from rkdo_plugin import create_loss

D = 128
CLASSES = ("cross-entropy", "harmonic", "mlm")
TWO_VIEWS = (
    *("clip", "cmc", "moco", "pmi-clustering", "simclr", "supcon", "t-simclr"),
    *("triplet", "vicreg", "x-sample"),
)
ONE_VIEW = (
    *("infonce-clustering", "k-means", "lgsimclr", "normalized-cuts", "pca", "sne"),
    *("spectral", "t-sne"),
)


def one_pass(name: str, batch_size: int) -> None:
    """Forward and backward."""
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(2, batch_size, D, generator=generator).unbind()
    z0, z1 = (view.clone().requires_grad_() for view in views)
    features = torch.randn(batch_size, 64, generator=generator)
    labels = torch.arange(batch_size) % 10
    targets = labels if name in ("supcon", *CLASSES) else features
    if name in TWO_VIEWS and name not in ("supcon", "x-sample"):
        loss = create_loss(name)(z0, z1)
    elif name in TWO_VIEWS or name in CLASSES:
        loss = create_loss(name)(z0, z1, targets)
    else:
        loss = create_loss(name)(z0, targets=targets)
    loss.backward()


def peak() -> float:
    """Peak resident memory of this process in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def growth(name: str, batch_size: int) -> float:
    """In MiB, beyond what loading and a small batch take."""
    torch.set_num_threads(1)
    one_pass(name, 64)
    before = peak()
    one_pass(name, batch_size)
    return peak() - before


def main(batch_size: str = "8192") -> None:
    """Print a line a row."""
    for name in sorted(CLASSES + TWO_VIEWS + ONE_VIEW):
        with get_context("spawn").Pool(1) as pool:
            mebibytes = pool.apply(growth, (name, int(batch_size)))
        print(f"{name:20}{mebibytes:6.0f} MiB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
