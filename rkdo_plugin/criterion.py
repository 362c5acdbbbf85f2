"""Find a recipe's criterion by its name, and replace it."""

import re

from torch import nn

from rkdo_plugin.heads import LossHead


def find_criterion(recipe: nn.Module, attribute: str) -> nn.Module:
    """The criterion's module.

    Args:
        recipe: Holds the criterion.
        attribute: Where it is, with dots for modules within modules: "criterion",
            "criterion.criterion" in a `LossHead`, "losses.0" in a ModuleList.

    Raises:
        AttributeError: There is no module. The message lists those that look like a
            criterion.
    """
    found: object = recipe
    for name in attribute.split("."):
        found = getattr(found, name, None)
    if isinstance(found, nn.Module):
        return found
    raise AttributeError(
        f"Expected {type(recipe).__name__}.{attribute} to be the criterion's module "
        f"but got {type(found).__name__}; pass attribute= with one of: "
        + (", ".join(_candidates(recipe)) or "none, it has no modules")
    )


def replace_criterion(recipe: nn.Module, attribute: str, criterion: nn.Module) -> None:
    """Put a criterion where `find_criterion` finds one."""
    parent, _, name = attribute.rpartition(".")
    setattr(find_criterion(recipe, parent) if parent else recipe, name, criterion)


def _candidates(recipe: nn.Module) -> list[str]:
    """Names of the modules that look like a criterion, or else of all at the top."""
    found: list[str] = []
    inside: tuple[str, ...] = ()  # a loss's own parts are no criteria of the recipe
    for name, module in recipe.named_modules():
        kind = type(module).__name__
        if name.startswith(inside) or isinstance(module, nn.ModuleList | nn.ModuleDict):
            continue
        if name and re.search(r"(?i)loss|criterion|similarity", f"{name} {kind}"):
            found.append(name)
            if not isinstance(module, LossHead):
                inside += (f"{name}.",)
    return found or [name for name, _ in recipe.named_children()]
