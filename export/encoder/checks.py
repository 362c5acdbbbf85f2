"""Checks of a backbone and its preprocessing before they are frozen."""

from collections.abc import Sequence

import torch
from torch import nn

NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")


def require_channels(mean: Sequence[float], std: Sequence[float]) -> None:
    """Check the statistics of the channels.

    Raises:
        TypeError: `mean` or `std` is not a sequence.
        ValueError: A value is out of range, or the lengths differ.
    """
    if not (hasattr(mean, "__len__") and hasattr(std, "__len__")):
        raise TypeError(
            "Expected `mean` and `std` to hold one number for each channel but got "
            f"{mean!r} and {std!r}"
        )
    if not 0 < len(mean) == len(std):
        raise ValueError(
            "Expected `mean` and `std` to hold one number for each channel but got "
            f"{list(mean)} and {list(std)}"
        )
    if not (all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std)):
        raise ValueError(
            "Expected `mean` to be within [0, 1] and `std` within (0, 1], for images "
            f"divided by 255, but got {list(mean)} and {list(std)}"
        )


def require_finite(backbone: nn.Module) -> None:
    """Check that no weight is NaN or infinite.

    Raises:
        ValueError: A weight is NaN or infinite.
    """
    broken = [
        name
        for name, value in backbone.state_dict().items()
        if not torch.isfinite(value).all()
    ]
    if broken:
        raise ValueError(
            f"Expected finite weights but got NaN or infinity in {len(broken)}: "
            + ", ".join(broken[:3])
        )


def require_statistics(backbone: nn.Module) -> None:
    """Check that every batch norm kept the statistics of the training.

    A batch norm without them computes them from the batch. An image's embedding would
    then depend on the other images in its batch.

    Raises:
        ValueError: A batch norm has no statistics.
    """
    without = [
        name
        for name, part in backbone.named_modules()
        if getattr(part, "original_name", type(part).__name__) in NORMS  # TorchScript's
        and getattr(part, "running_mean", None) is None
    ]
    if without:
        raise ValueError(
            "Expected batch norms with statistics from training (track_running_stats) "
            f"but got {len(without)} without: {', '.join(without[:3])}"
        )
