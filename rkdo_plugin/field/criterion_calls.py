"""Watch a recipe's calls of its criterion: which embedding is of which sample."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE_IDS = "sample_ids"
"""Argument through which a criterion asks for the ids of its rows: `sample_ids=(ids0,
ids1)`, (B,) each, so that copies of a sample are not taken for negatives."""

NO_EMBEDDINGS = (SAMPLE_IDS, "targets")


class CriterionCalls:
    """Forward hooks that note the embeddings of one training step's calls.

    Call number c of a step has view c as its first side. Of two views the other one is
    the second side. Lightly's recipes call like that: SimCLR once, BYOL and SimSiam
    twice, FastSiam once for each view. A detached side is a teacher or a neighbour, and
    is not noted. Calls without gradient do not count.

    Args:
        criterion: The recipe's criterion.
    """

    def __init__(self, criterion: nn.Module) -> None:
        # torch.compile hides the criterion's signature behind its own.
        forward = getattr(criterion, "_orig_mod", criterion).forward
        self._parameters = list(inspect.signature(forward).parameters)
        self._views: list[Tensor] | None = None
        self._calls = 0
        self._noted: list[tuple[Tensor, Tensor]] = []
        self._hooks = [
            criterion.register_forward_pre_hook(self._before, with_kwargs=True),
            criterion.register_forward_hook(self._after, with_kwargs=True),
        ]

    def begin(self, views: list[Tensor]) -> None:
        """Start a step whose views are of the samples with these ids, (B,) each."""
        self._views, self._calls, self._noted = views, 0, []

    def end(self) -> list[tuple[Tensor, Tensor]]:
        """Ids (B,) and embeddings (B, D) noted since `begin`; nothing more is noted."""
        noted, self._views, self._noted = self._noted, None, []
        return noted

    def remove(self) -> None:
        """Take the hooks off the criterion."""
        for hook in self._hooks:
            hook.remove()

    def _sides(self) -> list[Tensor | None] | None:
        """Sample ids of this call's two arguments; None where none is to be noted."""
        views, call = self._views, self._calls
        if views is None or not torch.is_grad_enabled():
            return None
        if call >= len(views):
            raise RuntimeError(
                f"Expected at most {len(views)} calls of the criterion a step, one for "
                f"each view, but got call {call + 1}"
            )
        return [views[call], views[1 - call] if len(views) == 2 else None]

    def _before(
        self, criterion: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        sides = self._sides()
        if sides is None or None in sides or SAMPLE_IDS not in self._parameters:
            return None
        return args, {SAMPLE_IDS: tuple(sides), **kwargs}

    def _after(
        self,
        criterion: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        loss: Any,
    ) -> None:
        sides = self._sides()
        if sides is None:
            return
        for ids, z in zip(sides, self._two_tensors(args, kwargs), strict=True):
            if ids is not None and z.requires_grad:
                self._noted.append((ids, z.detach()))
        self._calls += 1

    def _two_tensors(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Tensor]:
        """What the criterion was called with, in the order of its parameters."""
        named = {name: v for name, v in kwargs.items() if name not in NO_EMBEDDINGS}
        order = {name: place for place, name in enumerate(self._parameters)}
        names = sorted(named, key=lambda name: order.get(name, len(order)))
        tensors = [*args, *(named[name] for name in names)]
        if len(tensors) != 2 or not all(
            isinstance(z, Tensor) and z.ndim == 2 for z in tensors
        ):
            got = ", ".join(
                f"tensor {tuple(z.shape)}"
                if isinstance(z, Tensor)
                else type(z).__name__
                for z in tensors
            )
            raise TypeError(
                "Expected the criterion to be called with two tensors (B, D), the "
                f"embeddings of two views, but got ({got})"
            )
        return tensors
