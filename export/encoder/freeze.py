"""From a checkpoint to the encoder alone."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rkdo_plugin.export.encoder.branch import select_branch
from rkdo_plugin.export.encoder.checkpoint import Checkpoint, read_weights
from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.image_size import ImageSize
from rkdo_plugin.plugins.create import create_encoder

ROUNDING = 1e-4  # allowed difference of a mean or std: a fortieth of a grey level
# What Lightly's examples train a network of ImageNet's with, to show the form.
EXAMPLE = {
    "backbone": "resnet18",
    "image_size": "224",
    "mean": "[0.485,0.456,0.406]",
    "std": "[0.229,0.224,0.225]",
}
SHOWN = 3  # weights that an error names


def freeze(
    checkpoint: str | Path | Checkpoint,
    backbone: nn.Module | str | None = None,
    *,
    image_size: ImageSize | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    normalize: bool | None = None,
    branch: str | None = None,
    any_size: bool = False,
) -> Encoder:
    """Take the encoder out of a checkpoint, frozen and with its preprocessing.

    Checkpoints of this package's recipes record everything that is asked for here. For
    other checkpoints, such as those of Lightly's examples, pass `backbone`,
    `image_size`, `mean` and `std`.

    Args:
        checkpoint: A Lightning checkpoint; a state dict that `torch.save` wrote, alone
            or inside the checkpoint of a training script; or a `.safetensors` file. A
            `Checkpoint` that `read_weights` has read is not read again.
        backbone: The module that was trained, with any weights, or an encoder's name.
            It is copied and never changed.
        image_size: Height and width of the images in pixels: one integer, or (H, W). It
            overrides the recorded size.
        mean: Mean of each channel, on the scale from 0 to 1. If the checkpoint records
            a mean, this must be the same: a different one is a mistake. To embed with a
            different one all the same, build an `Encoder` around this one's `backbone`.
        std: Standard deviation of each channel, on the scale from 0 to 1. It must be
            the recorded one, too.
        normalize: Divide features by their norm. By default as the checkpoint records,
            or True if it records nothing.
        branch: Where in the checkpoint the encoder is, such as "encoder". Pass it if
            its name does not tell it from a momentum copy or a student.
        any_size: Accept images of any height and width. The backbone must accept them,
            too.

    Returns:
        The encoder, on the CPU. From a momentum recipe it is the branch `backbone`,
        DINO's `teacher_backbone` or `teacher.backbone`, or MoCo's `encoder_q` or
        `base_encoder`. It is never a momentum copy, a student or a head.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        IsADirectoryError: The path is a folder.
        ValueError: The file is not a checkpoint or does not fit the backbone, a weight
            is not finite, something is neither passed nor recorded, or `mean` or `std`
            differs from the recorded one.

    Example:
        >>> encoder = freeze("epoch=9.ckpt", "resnet18", image_size=32,
        ...     mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])  # doctest: +SKIP
    """
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = read_weights(Path(checkpoint))
    path, record = checkpoint.path, checkpoint.record
    given: dict[str, Any] = {
        "backbone": backbone if backbone is not None else record.get("encoder"),
        "image_size": (
            image_size if image_size is not None else record.get("image_size")
        ),
        "mean": mean if mean is not None else record.get("mean"),
        "std": std if std is not None else record.get("std"),
    }
    missing = [f"`{name}`" for name, value in given.items() if value is None]
    if missing:
        examples = " ".join(f"`{name}` {EXAMPLE[name]}" for name in given)
        raise ValueError(
            f"Expected {', '.join(missing)} but got none; {path} does not record how "
            f"its encoder was trained: for example {examples}"
        )
    for name in ("mean", "std"):
        _require_recorded(name, given[name], record.get(name), path)
    module = _module(given["backbone"], channels=len(given["mean"]))
    load_weights(module, checkpoint, branch)
    return Encoder(
        module,
        image_size=given["image_size"],
        mean=given["mean"],
        std=given["std"],
        normalize=record.get("normalize", True) if normalize is None else normalize,
        any_size=any_size,
    )


def _require_recorded(
    name: str, given: Sequence[float], recorded: Sequence[float] | None, path: Path
) -> None:
    """Refuse numbers that differ from the training's by more than rounding."""
    if recorded is None or (
        len(given) == len(recorded)
        and all(abs(g - r) <= ROUNDING for g, r in zip(given, recorded, strict=True))
    ):
        return
    raise ValueError(
        f"Expected `{name}` to be {list(recorded)}, which {path} was trained with, but "
        f"got {list(given)}; leave it out, or build an Encoder around the frozen "
        "backbone"
    )


def _module(backbone: nn.Module | str, channels: int) -> nn.Module:
    if isinstance(backbone, nn.Module):
        return copy.deepcopy(backbone).cpu()
    module: nn.Module = create_encoder(backbone, in_channels=channels)
    return module


def load_weights(
    module: nn.Module, checkpoint: Checkpoint, branch: str | None = None
) -> None:
    """Fill a module from its branch of a checkpoint; refuse any difference.

    Args:
        module: The encoder to fill. It keeps its weights if there is an error.
        checkpoint: What `read_weights` has read.
        branch: Where in the checkpoint the encoder is, such as "encoder". None: as
            `freeze` finds it.

    Raises:
        ValueError: A weight is missing, unexpected or of another shape, or the branch
            is not there.
    """
    expected: Mapping[str, Any] = module.state_dict()
    if not expected:  # An encoder of raw pixels has no weights.
        return
    found = select_branch(checkpoint.weights, module, checkpoint.path, branch)
    faults = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{name} {tuple(found[name].shape)} for {tuple(expected[name].shape)}"
            for name in sorted(expected.keys() & found.keys())
            if found[name].shape != expected[name].shape
        ],
    }
    if any(faults.values()):
        differences = "; ".join(
            f"{len(names)} {fault}: {', '.join(names[:SHOWN])}"
            + (", ..." if len(names) > SHOWN else "")
            for fault, names in faults.items()
            if names
        )
        raise ValueError(
            f"Expected the weights of a {type(module).__name__} in {checkpoint.path} "
            f"but got {differences}"
        )
    module.load_state_dict(found)
