"""Embeddings as the response field keeps them: unit vectors, one a sample."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional


def check_finite(name: str, values: Tensor) -> None:
    """Raise a ValueError if a value of (B, D) is not finite."""
    finite = values.isfinite()
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"Expected `{name}` to be finite but got {values[row, column].item()} in "
            f"row {row}"
        )


def mean_of_samples(index: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised mean of each sample's embeddings.

    A sample whose embeddings are zero, or cancel, has no direction and is left out.

    Args:
        index: (B,) int64, with repetitions.
        unit: (B, D) float32 unit vectors.

    Returns:
        samples (U,) int64, unique and ascending, and means (U, D) of length 1.
    """
    samples, which = torch.unique(index, return_inverse=True)
    sums = unit.new_zeros(len(samples), unit.shape[1]).index_add_(0, which, unit)
    directed = sums.any(dim=1)
    return samples[directed], functional.normalize(sums[directed], dim=1)


def map_file(path: Path, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """A tensor (rows, columns) in a file, which is created where there is none.

    Raises:
        ValueError: The file is of another size.
    """
    size = rows * columns * dtype.itemsize
    if path.exists() and path.stat().st_size != size:
        raise ValueError(
            f"Expected {path} to hold {size} bytes, ({rows}, {columns}) of {dtype}, "
            f"but it holds {path.stat().st_size}"
        )
    flat = torch.from_file(str(path), shared=True, size=rows * columns, dtype=dtype)
    return flat.view(rows, columns)
