"""Read the weights of a checkpoint without running its code."""

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

# Under which key training scripts keep all their weights: Lightning, timm and MoCo;
# DINOv2, MAE, Barlow Twins and VICReg; PyTorch's own tutorials.
CONTAINERS = ("state_dict", "model", "model_state_dict")

# What torch.load raises for a file that is cut short, or was never a checkpoint.
READ_ERRORS = (
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
    KeyError,
    IndexError,
    ValueError,
    AttributeError,
    TypeError,
    SafetensorError,
)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Read the weights of a checkpoint, and what our recipes record beside them.

    Args:
        path: A Lightning checkpoint, a state dict written by `torch.save`, alone or
            within a training script's checkpoint, or a `.safetensors` file.

    Returns:
        The state dict, and the record under "rkdo", empty for other checkpoints. Where
        a checkpoint keeps several state dicts under names of its own, such as DINO's
        "student" and "teacher", these names are the first part of the keys.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: The path is a folder.
        ValueError: The file is truncated, holds pickled objects other than tensors and
            plain values, or is no checkpoint at all.
    """
    expected = (
        "expected a Lightning checkpoint, a state dict written by torch.save, or a "
        ".safetensors file"
    )
    if path.is_dir():
        raise IsADirectoryError(
            f"Expected a checkpoint but {path} is a folder; pass the file in it; a "
            "run's is last.ckpt"
        )
    try:
        content = _read(path)
    except READ_ERRORS as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} cannot be read as a checkpoint, it may be cut short or hold "
            f"pickled code; {expected}: {reason}"
        ) from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds no weights; {expected}")
    record: Mapping[str, Any] = {}
    container = next((name for name in CONTAINERS if name in content), None)
    if container is not None:
        record = content.get("rkdo", {})
        content = content[container]
        if not isinstance(content, Mapping) or not content:
            raise ValueError(f"{path} holds no weights in '{container}'; {expected}")
        if not _are_weights(content):
            raise ValueError(
                f"{path} holds other things than weights in '{container}'; {expected}"
            )
    elif not _are_weights(content):
        content = {
            f"{name}.{key}": value
            for name, part in content.items()
            if _are_weights(part)
            for key, value in part.items()
        }
    if not content:
        raise ValueError(f"{path} holds no weights; {expected}")
    return dict(content), record


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    # Scripts save their arguments too; a Namespace is attributes and runs nothing.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _are_weights(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor)
        for name, value in content.items()
    )
