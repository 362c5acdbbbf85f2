"""Find the encoder's weights among the weights of a whole recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")

# Prefixes of the encoder to use. No momentum copy, student or head is among them.
BRANCHES = (
    "",  # a checkpoint of the encoder alone
    "backbone.",  # Lightly's recipes, Barlow Twins, VICReg
    "teacher_backbone.",  # Lightly's DINO
    "teacher.backbone.",  # the authors' DINO, DINOv2 and iBOT
    "encoder_q.",  # the authors' MoCo v1 and v2
    "base_encoder.",  # the authors' MoCo v3
)

# Parts of names that DistributedDataParallel, torch.compile, FSDP and activation
# checkpointing add.
WRAPPERS = {
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}

# Names that torchvision and timm give to the last layers of a network.
CLASSIFIERS = {"fc", "classifier", "head", "heads", "last_linear"}


def select_branch(
    state: Mapping[str, Tensor], module: nn.Module, path: Path, branch: str | None
) -> dict[str, Tensor]:
    """Select the weights of one branch and give them the module's own names.

    Parts that wrappers add to a name are ignored wherever they stand in it. If the
    module has an `nn.Identity` in place of a classifier or head, the weights of that
    classifier or head are left out.

    Args:
        state: State dict of a recipe, or of an encoder alone.
        module: The encoder to fill.
        path: The file that the weights come from, for errors.
        branch: Prefix of the branch. None: the one prefix of `BRANCHES` that is there.

    Returns:
        The branch's weights. Some of the module's may be missing, and some may be
        unknown to the module.

    Raises:
        ValueError: There is no such branch. With None: no prefix of `BRANCHES` is
            there, or several are.
    """
    state = _unwrapped(state)
    namings = _namings(module)
    prefix = _prefix(state, namings, path, branch)
    weights = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix)
    }
    naming = max(namings, key=lambda naming: len(naming.keys() & weights.keys()))
    return {
        naming.get(name, name): value
        for name, value in weights.items()
        if name in naming or not _is_of_removed_classifier(name, module)
    }


def _prefix(
    state: Mapping[str, Tensor],
    namings: Sequence[Mapping[str, str]],
    path: Path,
    branch: str | None,
) -> str:
    whole = _prefixes_of_whole_encoders(state, namings)
    if branch is not None:
        (asked,) = _unwrapped({branch.rstrip(".") + ".": None})
        choice = [asked] if any(name.startswith(asked) for name in state) else []
    else:
        # A branch that lacks some weights is chosen, too: the caller's error then names
        # the missing weights.
        choice = [prefix for prefix in BRANCHES if prefix in whole] or [
            prefix
            for prefix in BRANCHES[1:]
            if any(name.startswith(prefix) for name in state)
        ]
        if not choice and any(not state.keys().isdisjoint(n) for n in namings):
            choice = [""]
    if len(choice) == 1:
        return choice[0]
    expected = " or ".join(BRANCHES[1:]) if branch is None else f"`branch` {branch}"
    found = sorted(whole or {name.split(".")[0] for name in state})
    raise ValueError(
        f"Expected weights under {expected} in {path} but found "
        f"{'several: ' if choice else 'only '}"
        f"{', '.join(prefix.rstrip('.') or 'no prefix' for prefix in found)}; "
        "name the encoder's place with the argument `branch`"
    )


def _prefixes_of_whole_encoders(
    state: Mapping[str, Tensor], namings: Sequence[Mapping[str, str]]
) -> set[str]:
    """Prefixes under which every one of the encoder's weights is there."""
    found = set()
    for naming in namings:
        one = next(iter(naming), "")
        starts = {name.removesuffix(one) for name in state if name.endswith(one)}
        found |= {
            start
            for start in starts
            if start[-1:] in ("", ".") and all(start + name in state for name in naming)
        }
    return found


def _namings(module: nn.Module) -> list[dict[str, str]]:
    """Map each name that a checkpoint may use for a weight to the module's own name.

    There are one or two such maps. Lightly's examples cut the classifier off a backbone
    with `nn.Sequential(*module.children())`, which numbers the parts.
    """
    own = dict(zip(_unwrapped(module.state_dict()), module.state_dict(), strict=True))
    children = [name for name, _ in module.named_children()]
    if any(name.isdigit() for name in children):
        return [own]
    numbers = {name: str(number) for number, name in enumerate(children)}
    numbered = {}
    for name, key in own.items():
        first, _, rest = name.partition(".")
        numbered[f"{numbers.get(first, first)}.{rest}"] = key
    return [own, numbered]


def _unwrapped(state: Mapping[str, Value]) -> dict[str, Value]:
    """Remove the parts of weights' names that wrappers added."""
    unwrapped = {
        ".".join(part for part in name.split(".") if part not in WRAPPERS): value
        for name, value in state.items()
    }
    # If two names become equal, the network itself has parts with these names.
    return unwrapped if len(unwrapped) == len(state) else dict(state)


def _is_of_removed_classifier(name: str, module: nn.Module) -> bool:
    parts = name.split(".")
    for number, part in enumerate(parts):
        module = getattr(module, part, nn.Module())
        if isinstance(module, nn.Identity):
            return not CLASSIFIERS.isdisjoint(parts[: number + 1])
    return False
