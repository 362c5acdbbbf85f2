"""Embeddings as the response field keeps them: unit vectors, one a sample."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rkdo_plugin.factors import unit_rows
from rkdo_plugin.options import check_count, check_type, holds_integers

SAME = 1e-6  # 1 - cosine: what float32 makes of equal directions
CANCELLED = 1e-6  # length of a mean: what float32 makes of unit vectors that cancel


def check_sizes(
    num_samples: int, dim: int, neighbors: int, search_samples: int, seed: int
) -> None:
    """Check the sizes of a field, and its seed.

    Raises:
        TypeError: One is no integer.
        ValueError: One is outside its range.
    """
    check_count("num_samples", num_samples)
    check_count("dim", dim)
    check_count("neighbors", neighbors)
    check_count("search_samples", search_samples)
    check_type("seed", seed, int, "an integer")
    if neighbors >= num_samples:
        raise ValueError(
            f"Expected `neighbors` to be less than `num_samples`, {num_samples}, "
            f"but got {neighbors}"
        )


def check_finite(name: str, values: Tensor) -> None:
    """Raise a ValueError if a value of (B, D) is not finite."""
    finite = values.isfinite()
    if not finite.all():
        row, column = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"Expected `{name}` to be finite but got {values[row, column].item()} in "
            f"row {row}"
        )


def checked_features(features: Any, num_samples: int) -> Tensor:
    """Features (N, F) as a float32 tensor, on their own device.

    Raises:
        TypeError: They are no numbers.
        ValueError: The shape is not (N, F), or a value is not finite.
    """
    try:
        features = torch.as_tensor(features)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            "Expected `features` to be a tensor or an array of numbers but got "
            f"{type(features).__name__}"
        ) from error
    fits = features.ndim == 2 and len(features) == num_samples
    if not fits or features.shape[1] == 0:
        raise ValueError(
            f"Expected `features` to have shape ({num_samples}, F) but got "
            f"{tuple(features.shape)}"
        )
    numbers: Tensor = features.float()
    check_finite("features", numbers)
    return numbers


def directions_of(features: Any, num_samples: int) -> Tensor:
    """Features (N, F) as float32 unit vectors, zero where they tell no neighbours.

    They tell none where they are zero, or where all samples have the same direction, up
    to rounding. A warning says so.

    Raises:
        TypeError: The features are no numbers.
        ValueError: The shape is not (N, F), or a value is not finite.
    """
    unit = unit_rows(checked_features(features, num_samples))
    directed = unit.any(dim=1)
    if (1 - unit @ unit[0] <= SAME).all() or not directed.any():
        alone, reason = torch.ones_like(directed), "the same"
    else:
        alone, reason = ~directed, "zero"
    if alone.any():
        which = "all" if alone.all() else f"{int(alone.sum())} of"
        warnings.warn(
            f"The features of {which} {num_samples} samples are {reason}: they tell no "
            "neighbours, and the rows of these samples stay one-hot",
            stacklevel=4,  # the caller of `initialize`, which has a decorator
        )
    return unit.masked_fill_(alone[:, None], 0)


def checked_embeddings(embeddings: Tensor, rows: int, dim: int) -> Tensor:
    """Embeddings (B, D) as float32, on their own device.

    Raises:
        TypeError: They are no tensor.
        ValueError: The shape is not (rows, dim), or a value is not finite.
    """
    check_type("embeddings", embeddings, Tensor)
    if embeddings.shape != (rows, dim):
        wide = embeddings.ndim == 2 and len(embeddings) == rows
        raise ValueError(
            f"Expected `embeddings` to have shape ({rows}, {dim}), one row for each "
            f"index, but got {tuple(embeddings.shape)}"
            + (f"; create the field with dim={embeddings.shape[1]}" if wide else "")
        )
    embeddings = embeddings.float()  # before the check: a wide value may overflow
    check_finite("embeddings", embeddings)
    return embeddings


def checked_index(index: Tensor, num_samples: int) -> Tensor:
    """Samples (B,) as int64 on the CPU.

    Raises:
        ValueError: The index holds no integers, or one outside [0, num_samples).
    """
    check_type("index", index, Tensor)
    if index.ndim != 1 or not holds_integers(index):
        raise ValueError(
            "Expected `index` to hold integers (B,) but got "
            f"{tuple(index.shape)} of {index.dtype}"
        )
    index = index.to("cpu", torch.int64)
    outside = index[(index < 0) | (index >= num_samples)]
    if len(outside) > 0:
        raise ValueError(
            f"Expected `index` to hold values in [0, {num_samples}) but got "
            f"{int(outside[0])}"
        )
    return index


def mean_of_samples(index: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """The normalised mean of each sample's embeddings.

    A sample whose embeddings are zero, or cancel, has no direction and is left out.

    Args:
        index: (B,) int64, with repetitions.
        unit: (B, D) float32 unit vectors.

    Returns:
        samples (U,) int64, unique and ascending, and means (U, D) of length 1.
    """
    samples, which, counts = torch.unique(
        index, return_inverse=True, return_counts=True
    )
    sums = unit.new_zeros(len(samples), unit.shape[1]).index_add_(0, which, unit)
    directed = sums.norm(dim=1) > CANCELLED * counts
    return samples[directed], functional.normalize(sums[directed], dim=1)


def stored_embeddings(
    shape: tuple[int, int], dtype: torch.dtype, file: str | Path | None
) -> Tensor:
    """A tensor (N, D) of zeros in memory, or that of a file, memory-mapped.

    The file is created where there is none.

    Raises:
        TypeError: The dtype is none, or the file no path.
        ValueError: The dtype is not floating, or the file is of another size.
    """
    check_type("embedding_dtype", dtype, torch.dtype, "a dtype such as torch.float16")
    if not dtype.is_floating_point:
        raise ValueError(f"Expected `embedding_dtype` to be floating but got {dtype}")
    if file is None:
        return torch.zeros(shape, dtype=dtype)
    check_type("embeddings_file", file, (str, Path), "a path")
    path, (rows, columns) = Path(file), shape
    size = rows * columns * dtype.itemsize
    if path.exists() and path.stat().st_size != size:
        raise ValueError(
            f"Expected {path} to hold {size} bytes, ({rows}, {columns}) of {dtype}, "
            f"but it holds {path.stat().st_size}"
        )
    flat = torch.from_file(str(path), shared=True, size=rows * columns, dtype=dtype)
    return flat.view(rows, columns)
