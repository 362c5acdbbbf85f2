"""Checks of what a supervision reads: labels, features or a matrix of the samples."""

from typing import Any

import torch
from torch import Tensor


def require(targets: Tensor | None, what: str) -> Tensor:
    """The targets; a TypeError that says what they hold where they are no tensor."""
    if isinstance(targets, Tensor):
        return targets
    got = "none" if targets is None else type(targets).__name__
    raise TypeError(f"Expected `targets` to be {what} but got {got}")


def labels(targets: Tensor | None, samples: int, what: str) -> Tensor:
    """Integers (B,), one for each sample."""
    checked = require(targets, f"{what} ({samples},), integers")
    if checked.is_floating_point() or checked.dtype == torch.bool:
        raise TypeError(
            f"Expected `targets` to be {what} ({samples},), integers, but got "
            f"{checked.dtype}"
        )
    if checked.shape != (samples,):
        raise ValueError(
            f"Expected `targets` to be {what} ({samples},), one a sample, but got "
            f"shape {tuple(checked.shape)}"
        )
    return checked


def features(targets: Tensor | None, samples: int, what: str = "features") -> Tensor:
    """Finite features (B, F) in float32 or wider."""
    checked = require(targets, f"{what} ({samples}, F)")
    if checked.ndim != 2 or len(checked) != samples:
        raise ValueError(
            f"Expected `targets` to be {what} ({samples}, F), one row a sample, but "
            f"got shape {tuple(checked.shape)}"
        )
    checked = checked.detach().to(torch.promote_types(checked.dtype, torch.float32))
    _require_finite(checked)
    return checked


def shares(targets: Tensor | None, samples: int, columns: int, what: str) -> Tensor:
    """Finite numbers (B, C), none negative; sparse ones as rows of a CSR matrix."""
    checked = require(targets, f"{what} ({samples}, {columns})").detach()
    if checked.shape != (samples, columns):
        raise ValueError(
            f"Expected `targets` to be {what} ({samples}, {columns}) but got shape "
            f"{tuple(checked.shape)}"
        )
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
