"""Read a checkpoint without running its code, and find the encoder's weights in it."""

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# In Lightly's recipes `backbone` is the branch to evaluate; DINO has a teacher instead.
BRANCHES = ("backbone.", "teacher_backbone.")
WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile

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
)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Read the weights of a checkpoint, and what our recipes record beside them.

    Args:
        path: A Lightning checkpoint, or a state dict written by `torch.save`.

    Returns:
        The state dict, and the record under "rkdo", empty for other checkpoints.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated, holds pickled objects other than tensors and
            plain values, or is no checkpoint at all.
    """
    expected = "expected a Lightning checkpoint, or a state dict written by torch.save"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(
            f"{path} cannot be read as a checkpoint, it may be cut short or hold "
            f"pickled code; {expected}: {reason}"
        ) from error
    record: Mapping[str, Any] = {}
    if isinstance(content, Mapping) and "state_dict" in content:
        record = content.get("rkdo", {})
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds no weights; {expected}")
    if not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds other things than weights; {expected}")
    return dict(content), record


def select_branch(
    state: Mapping[str, Tensor], expected: Collection[str], path: Path
) -> dict[str, Tensor]:
    """The weights of the encoder among those of a whole recipe.

    Args:
        state: The recipe's state dict, or an encoder's alone.
        expected: The encoder's own keys.
        path: Where the weights come from, for the message.

    Returns:
        The branch's weights without its prefix.

    Raises:
        ValueError: No branch is one that may be exported.
    """
    state = _unwrapped(state, expected)
    if state.keys() == set(expected):
        return state
    for prefix in BRANCHES:
        branch = {
            key.removeprefix(prefix): value
            for key, value in state.items()
            if key.startswith(prefix)
        }
        if branch:
            return _unwrapped(branch, expected)
    if not state.keys().isdisjoint(expected):
        return state
    found = sorted({key.split(".")[0] for key in state})
    raise ValueError(
        f"Expected weights under {' or '.join(BRANCHES)} in {path} but found only "
        + ", ".join(found)
    )


def _unwrapped(
    state: Mapping[str, Tensor], expected: Collection[str]
) -> dict[str, Tensor]:
    """Remove the prefixes that wrappers put before every key, unless they belong."""
    unwrapped = dict(state)
    while True:
        for wrapper in WRAPPERS:
            wrapped = all(key.startswith(wrapper) for key in unwrapped)
            if wrapped and not any(key.startswith(wrapper) for key in expected):
                break
        else:
            return unwrapped
        unwrapped = {
            key.removeprefix(wrapper): value for key, value in unwrapped.items()
        }
