"""Read the weights of a checkpoint without running its code."""

import argparse
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rkdo_plugin.export.encoder.image_size import as_image_size, sides
from rkdo_plugin.export.encoder.images import MAX_RESIZED_PIXELS

# The key under which a training script keeps all its weights. "state_dict": Lightning,
# timm and MoCo. "model": DINOv2, MAE, Barlow Twins and VICReg. "model_state_dict":
# PyTorch's own tutorials.
CONTAINERS = ("state_dict", "model", "model_state_dict")

# First bytes of what `torch.save` writes: a zip file, or before PyTorch 1.6 a pickle.
ZIP, PICKLE = b"PK\x03\x04", b"\x80"

# Errors of torch.load and safetensors for a file that is cut short or is something
# else than a checkpoint.
READ_ERRORS = (
    OSError,
    RuntimeError,
    MemoryError,
    EOFError,
    pickle.UnpicklingError,
    LookupError,
    ValueError,
    AssertionError,
    AttributeError,
    TypeError,
    SafetensorError,
    struct.error,
    zipfile.BadZipFile,
)
BLOCK = 2**20  # bytes of a file whose checksum is computed at once


def _is_size(value: Any) -> bool:
    try:
        height, width = sides(as_image_size(value))
        return height * width <= MAX_RESIZED_PIXELS  # no picture is resized to more
    except (TypeError, ValueError):
        return False


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(number, int | float) for number in value
    )


# What our recipes record that is read again, and what it has to be.
RECORDED: Mapping[str, Callable[[Any], bool]] = {
    "recipe": lambda value: isinstance(value, str),
    "settings": lambda value: isinstance(value, Mapping),
    "encoder": lambda value: value is None or isinstance(value, str),
    "normalize": lambda value: isinstance(value, bool),
    "image_size": _is_size,
    "mean": _are_numbers,
    "std": _are_numbers,
    "data": lambda value: isinstance(value, str),
    "limit": lambda value: value is None or isinstance(value, int),
    "seed": lambda value: isinstance(value, int),
}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        path: The file.
        weights: The state dict. If the file keeps several state dicts under names of
            its own, such as DINO's "student" and "teacher", these names are the first
            part of the keys.
        record: The values that our recipes record under "rkdo". Empty for other
            checkpoints.
    """

    path: Path
    weights: Mapping[str, Tensor]
    record: Mapping[str, Any]


def read_weights(path: Path) -> Checkpoint:
    """Read the weights of a checkpoint, and what our recipes record beside them.

    Args:
        path: A Lightning checkpoint, a state dict that `torch.save` wrote, alone or
            inside a training script's checkpoint, or a `.safetensors` file.

    Returns:
        The weights and the record.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: The path is a folder.
        ValueError: The file is cut short or changed, is not a checkpoint, holds pickled
            objects other than tensors and plain values, or records something else than
            our recipes do.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"Expected a checkpoint at {path} but it is a folder; pass the file in it, "
            "which is last.ckpt in the folder of a run"
        )
    if not path.exists():
        raise FileNotFoundError(
            f"Expected a checkpoint at {path} but found no such file"
        )
    content = load_checkpoint(path)
    if not isinstance(content, Mapping):
        raise _no_checkpoint(path, f"got {type(content).__name__}")
    record: Mapping[str, Any] = {}
    container = next((name for name in CONTAINERS if name in content), None)
    if container is not None:
        record = record_of(path, content)
        content = content[container]
        if not isinstance(content, Mapping) or not content:
            raise _no_checkpoint(path, f"it holds no weights in '{container}'")
        if not _are_weights(content):
            raise _no_checkpoint(
                path, f"it holds other things than weights in '{container}'"
            )
    elif not _are_weights(content):
        content = {
            f"{name}.{key}": value
            for name, part in content.items()
            if _are_weights(part)
            for key, value in part.items()
        }
    if not content:
        raise _no_checkpoint(path, "it holds no weights")
    return Checkpoint(path, dict(content), record)


def load_checkpoint(path: Path) -> Any:
    """All that a checkpoint holds: tensors and plain values, no code is ever run.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is cut short or changed, is no checkpoint, or holds other pickled
            objects.
    """
    try:
        return _read(path)
    except READ_ERRORS as error:
        raise _no_checkpoint(path, _fault(path, error)) from error


def record_of(path: Path, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """What our recipes record in a checkpoint; nothing where another program wrote it.

    Raises:
        ValueError: It is something else than they record.
    """
    record = content.get("rkdo", {})
    if not isinstance(record, Mapping):
        raise _no_checkpoint(path, f"it records {type(record).__name__} as 'rkdo'")
    for name, fits in RECORDED.items():
        if name in record and not fits(record[name]):
            raise _no_checkpoint(path, f"it records {record[name]!r:.50} as '{name}'")
    return record


def _fault(path: Path, error: BaseException) -> str:
    """Why a file cannot be read. PyTorch's own words advise to run a file's code."""
    with path.open("rb") as file:
        start = file.read(len(ZIP))
    if isinstance(error, zipfile.BadZipFile):
        return f"it was changed or cut short: {error}"
    if path.suffix == ".safetensors" or start.startswith((ZIP, PICKLE)):
        return "it cannot be read: it is cut short, or holds other pickled objects"
    return "it is another file"


def _no_checkpoint(path: Path, but: str) -> ValueError:
    return ValueError(
        "Expected a Lightning checkpoint, a state dict written by torch.save, or a "
        f".safetensors file at {path} but {but}"
    )


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    # Training scripts save their arguments, too. A Namespace only holds attributes and
    # runs nothing.
    with (
        torch.serialization.safe_globals([argparse.Namespace]),
        warnings.catch_warnings(),
    ):
        # A pickle of another program's; PyTorch asks to report it as an issue.
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        content = torch.load(path, map_location="cpu", weights_only=True)
    _check_sums(path)
    return content


def _check_sums(path: Path) -> None:
    """Compare a zip file's parts with their checksums, which PyTorch does not read.

    Raises:
        BadZipFile: A part is another.
    """
    with path.open("rb") as content:
        if content.read(len(ZIP)) != ZIP:
            return
        with zipfile.ZipFile(content) as file:
            for part in file.infolist():
                if part.CRC:  # 0 where PyTorch was told to compute none
                    with file.open(part) as opened:
                        while opened.read(BLOCK):
                            pass


def _are_weights(content: Any) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor)
        for name, value in content.items()
    )
