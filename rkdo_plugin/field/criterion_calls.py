"""What a recipe's calls of its criterion say: which embedding is whose."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

SAMPLE_IDS = "sample_ids"
"""Argument through which a criterion asks for the ids of its rows: `sample_ids=(ids0,
ids1)`, (B,) each, so that copies of a sample are not taken for negatives."""


class CriterionCalls:
    """Forward hooks that note the embeddings of one training step's calls.

    Call c of a step compares view c with, of two views, the other one; that is how
    Lightly's recipes call: SimCLR once, BYOL and SimSiam twice, FastSiam once a view.
    Where one side is detached it is a teacher, or a neighbour, and is not noted.

    Args:
        criterion: The recipe's.
    """

    def __init__(self, criterion: nn.Module) -> None:
        parameters = inspect.signature(criterion.forward).parameters
        self.wants_ids = SAMPLE_IDS in parameters
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

    def _sides(self) -> list[Tensor | None]:
        """Sample ids of the first and the second argument of this call."""
        views, call = self._views or [], self._calls
        if call >= len(views):
            raise RuntimeError(
                f"Expected at most {len(views)} calls of the criterion a step, one for "
                f"each view, but got call {call + 1}"
            )
        return [views[call], views[1 - call] if len(views) == 2 else None]

    def _before(
        self, criterion: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._views is None or not self.wants_ids or SAMPLE_IDS in kwargs:
            return None
        first, second = self._sides()
        if second is None:
            return None
        return args, {**kwargs, SAMPLE_IDS: (first, second)}

    def _after(
        self,
        criterion: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        loss: Any,
    ) -> None:
        if self._views is None or not torch.is_grad_enabled():
            return
        sides = self._sides()
        tensors = [*args, *(v for name, v in kwargs.items() if name != SAMPLE_IDS)]
        for ids, z in zip(sides, tensors, strict=True):
            if ids is not None and z.requires_grad:
                self._noted.append((ids, z.detach()))
        self._calls += 1
