"""The Lightning callback that keeps a response field in step with a training run."""

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from rkdo_plugin.field.criterion_calls import CriterionCalls
from rkdo_plugin.field.response_field import ResponseField


class FieldCallback(Callback):
    """Updates a `ResponseField` once an optimizer step, from the criterion's inputs.

    No change to the recipe: sample ids come from the batch, embeddings from a forward
    hook on the criterion. Batches are those of `FieldPairs`, or have the samples'
    indices, a tensor (B,) of integers, in third place. In a distributed run every
    process updates its field with the embeddings of all. A criterion whose `forward`
    has an argument `sample_ids`, as `IConLoss` and `RKDOLoss` do, is told the samples
    of its rows.

    Logs at the end of an epoch: field/row_entropy (nats) and field/self_mass, means
    over the samples; field/coupling; field/sampled, the share of samples that had
    another one as partner.

    Args:
        field: Saved in the checkpoint, and restored from it.
        warmup_epochs: Epochs in which every sample is its own partner. The rows
            are filled in the last of them, when embeddings mean something.
        final_coupling: Let the field's coupling go along a cosine from its own value to
            this one; constant when not given. The paper advises from large to small.
        attribute: The recipe's attribute that holds the criterion.

    Raises:
        ValueError: An option is outside its range.

    Example:
        >>> field = ResponseField(num_samples=50_000, dim=128)
        >>> trainer = Trainer(callbacks=[FieldCallback(field, warmup_epochs=2)])

    Source: Martin, "Recursive KL Divergence Optimization", 2025,
    https://arxiv.org/abs/2504.21707, equation (3).
    """

    def __init__(
        self,
        field: ResponseField,
        warmup_epochs: int = 0,
        final_coupling: float | None = None,
        attribute: str = "criterion",
    ) -> None:
        if warmup_epochs < 0:
            raise ValueError(
                f"Expected `warmup_epochs` to be at least 0 but got {warmup_epochs}"
            )
        self.field = field
        self.warmup_epochs = warmup_epochs
        self.initial_coupling = field.coupling
        self.final_coupling = final_coupling
        self.attribute = attribute
        self._calls: CriterionCalls | None = None
        self._staged: list[tuple[Tensor, Tensor]] = []
        self._steps_done = 0
        self._samples = self._sampled = 0
        if warmup_epochs > 0:
            # Already here: a loader's workers may draw before training starts.
            field.active_weight.zero_()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the criterion, which `SwapLoss` has replaced by now."""
        criterion = getattr(pl_module, self.attribute, None)
        if not isinstance(criterion, nn.Module):
            raise AttributeError(
                f"Expected {type(pl_module).__name__}.{self.attribute} to be the "
                f"criterion's module but got {type(criterion).__name__}"
            )
        self.field.to(pl_module.device)
        self._unwatch()
        self._calls = CriterionCalls(criterion)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what an interrupted step left."""
        self._staged.clear()
        self._steps_done = trainer.global_step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Read who is in the batch."""
        views, index, partner = _samples(batch)
        self._samples += len(index)
        self._sampled += int((index != partner).sum())
        assert self._calls is not None
        self._calls.begin([index, *[partner] * (views - 1)])

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stage the embeddings; commit those of all batches since the last step."""
        assert self._calls is not None
        self._staged += self._calls.end()
        if trainer.global_step > self._steps_done:
            self._steps_done = trainer.global_step
            self._commit(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, and end the warm-up after its last epoch."""
        # The warm-up ends here, before the next epoch's partners are drawn.
        if trainer.current_epoch + 1 >= self.warmup_epochs:
            self.field.active_weight.fill_(self.field.field_weight)
        values = {
            "row_entropy": float(self.field.row_entropy().mean()),
            "self_mass": float(self.field.self_mass.mean()),
            "coupling": self.field.coupling,
            "sampled": self._sampled / max(1, self._samples),
        }
        self._samples = self._sampled = 0
        pl_module.log_dict({f"field/{name}": v for name, v in values.items()})

    def teardown(
        self, trainer: Trainer, pl_module: LightningModule, stage: str
    ) -> None:
        """Leave the criterion as it was."""
        self._unwatch()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the criterion as it was."""
        self._unwatch()

    def state_dict(self) -> dict[str, Any]:
        """The field, for the checkpoint."""
        return {"field": self.field.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the field.

        Raises:
            ValueError: The saved field is of other data, or of a newer version.
        """
        self.field.load_state_dict(state["field"])

    def _unwatch(self) -> None:
        if self._calls is not None:
            self._calls.remove()
            self._calls = None

    def _commit(self, trainer: Trainer, pl_module: LightningModule) -> None:
        staged, self._staged = self._staged, []
        if not staged:
            raise RuntimeError(
                f"Expected {type(pl_module).__name__}.training_step to call "
                f"self.{self.attribute} with embeddings that carry gradient, but in "
                "this step it did not"
            )
        index = torch.cat([ids for ids, _ in staged])
        embeddings = torch.cat([z.float() for _, z in staged])
        if trainer.world_size > 1:
            index = trainer.strategy.all_gather(index).flatten()
            embeddings = trainer.strategy.all_gather(embeddings).flatten(0, 1)
        self.field.coupling = self._coupling(trainer)
        self.field.update(index, embeddings)

    def _coupling(self, trainer: Trainer) -> float:
        """A of this step; 0 as long as the warm-up leaves the rows alone."""
        if trainer.current_epoch < self.warmup_epochs - 1:
            return 0.0
        if self.final_coupling is None:
            return self.initial_coupling
        progress = min(1.0, trainer.global_step / trainer.estimated_stepping_batches)
        swing = (1 + math.cos(math.pi * progress)) / 2
        return (
            self.final_coupling + (self.initial_coupling - self.final_coupling) * swing
        )


def _samples(batch: Any) -> tuple[int, Tensor, Tensor]:
    """Number of views, the samples' ids (B,) and their partners' (B,) of a batch."""
    fields = list(batch) if isinstance(batch, list | tuple) else []
    ids = fields[2:4]
    if not ids or not all(
        isinstance(i, Tensor) and i.ndim == 1 and not i.is_floating_point() for i in ids
    ):
        got = (
            ", ".join(type(field).__name__ for field in fields) or type(batch).__name__
        )
        raise TypeError(
            "Expected batches of (views, target, index, partner) but the training "
            f"loader gave ({got}): wrap its data set in "
            "FieldPairs(dataset, transform, field)"
        )
    return len(fields[0]), ids[0], ids[-1]
