"""Replace the criterion of a Lightly recipe, in one line."""

import inspect
import re
from dataclasses import dataclass
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from rkdo_plugin.batch_labels import BatchLabels
from rkdo_plugin.criterion import find_criterion, replace_criterion
from rkdo_plugin.options import check_type
from rkdo_plugin.plugins.create import create_loss

SUPPORTED = (
    "supported are recipes that call it with two tensors (B, D), as Lightly's SimCLR, "
    "BYOL, MoCo, SimSiam, NNCLR, DCL, Barlow Twins, VICReg, TiCo and FastSiam do"
)


def swap_loss(
    module: nn.Module,
    name_or_module: str | nn.Module,
    attribute: str = "criterion",
    **options: Any,
) -> nn.Module:
    """Replace a recipe's criterion; its `training_step` stays as it is.

    Args:
        module: The recipe.
        name_or_module: A registered loss name, or a criterion called as
            `criterion(z0, z1)`.
        attribute: The recipe's attribute that is the criterion. A dotted name reaches
            modules within modules: "criterion.criterion", "losses.0".
        options: Arguments of the named loss.

    Returns:
        The recipe. Its criterion checks at each call that it gets two tensors (B, D).

    Raises:
        AttributeError: The recipe has no such attribute.
        TypeError: The criterion in place takes something other than two tensors. The
            recipe is unchanged.
        ValueError: The loss name is unknown.

    Example:
        >>> recipe = create_recipe("simclr", encoder="small-convnet")
        >>> swap_loss(recipe, "rkdo", temperature=0.2).criterion.temperature
        0.2
    """
    check_type("module", module, nn.Module)
    check_type("attribute", attribute, str, "a name")
    recipe = type(module).__name__
    replaced = find_criterion(module, attribute)
    call = _TwoTensorCall(recipe, attribute, two_tensor_names(recipe, replaced))
    criterion = _criterion(name_or_module, options)
    criterion.register_forward_pre_hook(call, with_kwargs=True)
    replace_criterion(module, attribute, criterion)
    return module


class SwapLoss(BatchLabels):
    """Trainer callback that replaces a recipe's criterion before anything runs.

    A criterion that reads labels, such as SupCon's, gets the labels of each batch.

    Args:
        name_or_module: A registered loss name, or a criterion called as
            `criterion(z0, z1)`.
        attribute: The recipe's attribute that is the criterion. A dotted name reaches
            modules within modules: "criterion.criterion", "losses.0".
        options: Arguments of the named loss.

    Raises:
        ValueError: The loss name is unknown.

    Example:
        >>> swap = SwapLoss("rkdo", temperature=0.2)
        >>> trainer = Trainer(callbacks=[swap], logger=False)
    """

    def __init__(
        self,
        name_or_module: str | nn.Module,
        attribute: str = "criterion",
        **options: Any,
    ) -> None:
        super().__init__(attribute)
        self.criterion = _criterion(name_or_module, options)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Swap, before weights are moved, restored or given to an optimizer."""
        if find_criterion(pl_module, self.attribute) is not self.criterion:
            swap_loss(pl_module, self.criterion, self.attribute)
        super().setup(trainer, pl_module, stage)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a criterion with parameters that no optimizer holds."""
        optimized = {
            id(parameter)
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for name, parameter in self.criterion.named_parameters():
            if parameter.requires_grad and id(parameter) not in optimized:
                raise ValueError(
                    f"Expected {type(pl_module).__name__}.configure_optimizers to hold "
                    f"the criterion's parameter '{name}' but it would never be trained"
                )


def _criterion(name_or_module: str | nn.Module, options: dict[str, Any]) -> nn.Module:
    if isinstance(name_or_module, str):
        criterion: nn.Module = create_loss(name_or_module, **options)
        return criterion
    kind = "the name of a loss, or a module"
    check_type("name_or_module", name_or_module, nn.Module, kind)
    if options:
        raise TypeError(
            "Expected options with a loss's name only, but got a module and "
            + ", ".join(options)
        )
    return name_or_module


def two_tensor_names(recipe: str, criterion: nn.Module) -> tuple[str, str]:
    """Names of the two tensors that a criterion takes; refuses any other signature."""
    for hook in criterion._forward_pre_hooks.values():
        if isinstance(hook, _TwoTensorCall):  # An earlier swap: the names are older.
            return hook.names
    signature = inspect.signature(criterion.forward)
    refusal = TypeError(
        f"Expected {recipe} to call its criterion with two tensors but it calls "
        f"{type(criterion).__name__}.forward{signature}; {SUPPORTED}"
    )
    try:
        bound = signature.bind("a", "b").arguments
    except TypeError:
        raise refusal from None
    # As text: Lightly's annotations are types in some modules and strings in others.
    kinds = [str(signature.parameters[name].annotation) for name in bound]
    if len(bound) != 2 or any(
        re.search(r"(?i)(list|sequence)\[", kind) for kind in kinds
    ):
        raise refusal
    first, second = bound
    return first, second


@dataclass
class _TwoTensorCall:
    """Forward pre-hook: maps the recipe's call to `criterion(z0, z1)` or refuses it."""

    recipe: str
    attribute: str
    names: tuple[str, str]

    def __call__(
        self, criterion: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = dict(zip(self.names, args, strict=False)) | kwargs
        pair = [named[name] for name in self.names if name in named]
        if len(args) + len(kwargs) == 2 == len(pair) and all(
            isinstance(z, Tensor) and z.ndim == 2 and z.is_floating_point()
            for z in pair
        ):
            return tuple(pair), {}
        shown = [_describe(value) for value in args]
        shown += [f"{name}={_describe(value)}" for name, value in kwargs.items()]
        raise TypeError(
            f"Expected {self.recipe} to call its criterion with two tensors (B, D) but "
            f"it called self.{self.attribute}({', '.join(shown)}); {SUPPORTED}"
        )


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} tensor {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    return repr(value)
