"""From a checkpoint to the encoder alone."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export.encoder.branch import select_branch
from rkdo_plugin.export.encoder.checkpoint import read_checkpoint
from rkdo_plugin.export.encoder.encoder import Encoder

ROUNDING = 1e-4  # of a mean or deviation: a fortieth of a grey level


def freeze(
    checkpoint: str | Path,
    backbone: nn.Module | str | None = None,
    *,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    normalize: bool | None = None,
    branch: str | None = None,
    any_size: bool = False,
) -> Encoder:
    """Take the encoder out of a checkpoint, frozen and with its preprocessing.

    Checkpoints of this package's recipes record all that is asked for here. Others,
    such as those of Lightly's examples, need `backbone`, `image_size`, `mean` and
    `std`.

    Args:
        checkpoint: A Lightning checkpoint; a state dict written by `torch.save`, alone
            or in the checkpoint of a training script; or a `.safetensors` file.
        backbone: The module that was trained, of any weights, or an encoder's name. It
            is copied, never changed.
        image_size: Height and width of the images in pixels; wins over the record.
        mean: Mean of each channel, on the scale from 0 to 1. Where one is recorded, it
            must be that one: other numbers than the training's are a mistake. To embed
            with others all the same, build an `Encoder` around this one's `backbone`.
        std: Standard deviation of each channel, on the same scale; as with `mean`.
        normalize: Divide features by their norm; as recorded, or else done, when not
            given.
        branch: Where in the checkpoint the encoder is, such as "encoder": for names
            that nobody but you can tell from those of a momentum copy or a student.
        any_size: Take images of any height and width, where the backbone does.

    Returns:
        The encoder on the CPU. Of a momentum recipe, the branch `backbone`, DINO's
        `teacher_backbone` or `teacher.backbone`, or MoCo's `encoder_q` or
        `base_encoder`: never a momentum copy, a student or a head.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        IsADirectoryError: It is a folder.
        ValueError: The file is not a checkpoint or does not fit the backbone, a weight
            is not finite, something is neither given nor recorded, or `mean` or `std`
            is not the one recorded.

    Example:
        >>> encoder = freeze("epoch=9.ckpt", "resnet18", image_size=32,
        ...     mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])  # doctest: +SKIP
    """
    path = Path(checkpoint)
    state, record = read_checkpoint(path)
    given: dict[str, Any] = {
        "backbone": backbone if backbone is not None else record.get("encoder"),
        "image_size": (
            image_size if image_size is not None else record.get("image_size")
        ),
        "mean": mean if mean is not None else record.get("mean"),
        "std": std if std is not None else record.get("std"),
    }
    missing = [name for name, value in given.items() if value is None]
    if missing:
        raise ValueError(
            f"{path} does not record how its encoder was trained; expected the "
            f"arguments {', '.join(missing)}"
        )
    for name in ("mean", "std"):
        _require_recorded(name, given[name], record.get(name), path)
    module = _module(given["backbone"], channels=len(given["mean"]))
    _load(module, state, path, branch)
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
    """Refuse other numbers than training used; rounding is not one."""
    if recorded is None or (
        len(given) == len(recorded)
        and all(abs(g - r) <= ROUNDING for g, r in zip(given, recorded, strict=True))
    ):
        return
    raise ValueError(
        f"Expected `{name}` {list(recorded)}, which {path} was trained with, but got "
        f"{list(given)}; leave it out, or build an Encoder around the frozen backbone"
    )


def _module(backbone: nn.Module | str, channels: int) -> nn.Module:
    if isinstance(backbone, nn.Module):
        return copy.deepcopy(backbone).cpu()
    module: nn.Module = create_encoder(backbone, in_channels=channels)
    return module


def _load(
    module: nn.Module, state: Mapping[str, Tensor], path: Path, branch: str | None
) -> None:
    """Fill a module from its branch of a checkpoint, refusing any difference."""
    expected: Mapping[str, Any] = module.state_dict()
    found = select_branch(state, module, path, branch)
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
        raise ValueError(
            f"the weights in {path} are not those of a {type(module).__name__}; "
            + "; ".join(
                f"{len(names)} {fault}: {_first(names)}"
                for fault, names in faults.items()
                if names
            )
        )
    module.load_state_dict(found)


def _first(names: Sequence[str]) -> str:
    shown = 3
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
