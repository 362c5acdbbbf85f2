"""Checks of what a supervision reads: labels, features or a matrix of the samples."""

from typing import Any

import torch
from torch import Tensor

from rkdo_plugin.factors import working_dtype
from rkdo_plugin.options import holds_integers

DENSE = (torch.strided,)
SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


def require(targets: Tensor | None, what: str, layouts: Any = DENSE) -> Tensor:
    """The targets; a TypeError that says what they hold where they are no tensor.

    Nor are they complex, or of another layout than those.
    """
    if not isinstance(targets, Tensor):
        got = "none" if targets is None else type(targets).__name__
    elif targets.is_complex() or targets.layout not in layouts:
        got = f"{targets.dtype} in the layout {targets.layout}"
    else:
        return targets
    raise TypeError(f"Expected `targets` to be {what} but got {got}")


def labels(targets: Tensor | None, samples: int, what: str) -> Tensor:
    """Integers (B,), one for each sample."""
    checked = require(targets, f"{what} ({samples},), integers")
    if not holds_integers(checked):
        raise TypeError(
            f"Expected `targets` to be {what} ({samples},), integers, but got "
            f"{checked.dtype}"
        )
    if checked.shape != (samples,):
        raise ValueError(
            f"Expected `targets` to be {what} ({samples},), one a sample, but got "
            f"shape {tuple(checked.shape)}"
        )
    return checked.long()  # small integers cannot be compared with large ones


def features(targets: Tensor | None, samples: int, what: str = "features") -> Tensor:
    """Finite features (B, F) in float32 or wider."""
    checked = require(targets, f"{what} ({samples}, F)")
    if checked.ndim != 2 or len(checked) != samples or checked.shape[1] == 0:
        raise ValueError(
            f"Expected `targets` to be {what} ({samples}, F), one row a sample, but "
            f"got shape {tuple(checked.shape)}"
        )
    checked = checked.detach().to(working_dtype(checked))
    _require_finite(checked)
    return checked


def shares(targets: Tensor | None, samples: int, columns: int, what: str) -> Tensor:
    """Finite numbers (B, C), none negative; sparse ones as rows of a CSR matrix."""
    checked = require(targets, f"{what} ({samples}, {columns})", (*DENSE, *SPARSE))
    if checked.shape != (samples, columns):
        raise ValueError(
            f"Expected `targets` to be {what} ({samples}, {columns}) but got shape "
            f"{tuple(checked.shape)}"
        )
    checked = checked.detach()
    if checked.layout is torch.strided:
        values: Any = checked
    else:
        checked = checked.to_sparse_csr()
        values = checked.values()
    _require_finite(values)
    if values.numel() and values.min() < 0:
        raise ValueError(
            f"Expected `targets` to hold no negative number but got {values.min():g}"
        )
    return checked


def _require_finite(values: Tensor) -> None:
    if not values.isfinite().all():
        raise ValueError("Expected `targets` to be finite but got NaN or infinity")
