"""From a checkpoint to the encoder alone."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export.checkpoint import read_checkpoint, select_branch
from rkdo_plugin.export.encoder import Encoder


def freeze(
    checkpoint: str | Path,
    backbone: nn.Module | str | None = None,
    *,
    image_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    normalize: bool | None = None,
) -> Encoder:
    """Take the encoder out of a checkpoint, frozen and with its preprocessing.

    Checkpoints of this package's recipes record all that is asked for here. Others,
    such as those of Lightly's examples, need every argument. An argument that is given
    wins over the record.

    Args:
        checkpoint: A Lightning checkpoint, or a state dict written by `torch.save`.
        backbone: The module that was trained, of any weights, or an encoder's name. It
            is copied, never changed.
        image_size: Height and width of the images in pixels.
        mean: Mean of each channel, on the scale from 0 to 1.
        std: Standard deviation of each channel, on the same scale.
        normalize: Divide features by their norm; as recorded, or else done, when not
            given.

    Returns:
        The encoder on the CPU. Of a momentum recipe, the branch `backbone.`, or
        DINO's `teacher_backbone.`: never a momentum copy, a student or a head.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The file is not a checkpoint or does not fit the backbone, a weight
            is not finite, or something is neither given nor recorded.

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
    module = _module(given["backbone"], channels=len(given["mean"]))
    _load(module, state, path)
    return Encoder(
        module,
        image_size=given["image_size"],
        mean=given["mean"],
        std=given["std"],
        normalize=record.get("normalize", True) if normalize is None else normalize,
    )


def _module(backbone: nn.Module | str, channels: int) -> nn.Module:
    if isinstance(backbone, nn.Module):
        return copy.deepcopy(backbone).cpu()
    module: nn.Module = create_encoder(backbone, in_channels=channels)
    return module


def _load(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Fill a module from its branch of a checkpoint, refusing any difference."""
    expected: Mapping[str, Any] = module.state_dict()
    found = _named(select_branch(state, expected.keys(), path), module)
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


def _named(state: Mapping[str, Tensor], module: nn.Module) -> Mapping[str, Tensor]:
    """Weights of `nn.Sequential(*module.children())`, under the module's own names.

    So Lightly's examples keep their backbones: as a sequence without the classifier.
    """
    children = [name for name, _ in module.named_children()]
    numbered = all(
        key.split(".")[0].isdigit() and int(key.split(".")[0]) < len(children)
        for key in state
    )
    if not numbered or any(name.isdigit() for name in children):
        return state
    return {
        ".".join([children[int(number)], *rest]): value
        for (number, *rest), value in ((k.split("."), v) for k, v in state.items())
    }


def _first(names: Sequence[str]) -> str:
    shown = 3
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
