"""The Lightning callback that keeps a response field in step with a training run."""

import math
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from rkdo_plugin.criterion import find_criterion
from rkdo_plugin.field.batch import read_batch
from rkdo_plugin.field.criterion_calls import CriterionCalls
from rkdo_plugin.field.response_field import ResponseField
from rkdo_plugin.field.rows import Rows
from rkdo_plugin.field.trust import AUTO, HUBS
from rkdo_plugin.options import check_count, check_range, check_type


class FieldCallback(Callback):
    """Updates a `ResponseField` once every optimizer step, from the criterion's inputs.

    The recipe does not change: sample ids come from the batch, embeddings from a
    forward hook on the criterion. Batches are those of `FieldPairs`, or have the
    samples' indices, a tensor (B,) of integers, in third place. With accumulated
    gradients one update takes the embeddings of all batches of the step. In a
    distributed run every process updates its field with the embeddings of all
    processes, once for a sample that `DistributedSampler` repeats. A criterion whose
    `forward` has an argument `sample_ids`, as that of `IConLoss` and `RKDOLoss` has,
    is told the samples of its rows.

    It logs at the end of an epoch: field/row_entropy (nats) and field/self_mass, means
    over the samples; field/coupling, the value of the last step; field/sampled, the
    share of samples whose partner was another sample; field_trust, how far the
    given neighbours deserve to be followed.

    Args:
        field: The response field. It is saved in the checkpoint and restored from it.
        warmup_epochs: Number of epochs in which every sample is its own partner. The
            rows are filled in the last of them, when embeddings mean something. A field
            whose weight is "auto" draws no partners in the first epoch in any case.
        final_coupling: The coupling goes along a cosine from `field.coupling`, which
            keeps its value, to this one. It is constant when not given. The paper
            advises to go from large to small.
        attribute: The recipe's attribute that is the criterion. A dotted name reaches
            modules within modules: "criterion.criterion" in a `LossHead`.

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
        check_type("field", field, ResponseField)
        check_count("warmup_epochs", warmup_epochs, least=0)
        check_type("attribute", attribute, str, "a name")
        if final_coupling is not None:
            check_range("final_coupling", final_coupling, 0, 1)
        self.field = field
        self.warmup_epochs = warmup_epochs
        self.final_coupling = final_coupling
        self.attribute = attribute
        self._calls: CriterionCalls | None = None
        self._staged: list[tuple[Tensor, Tensor]] = []
        self._steps_done = 0
        self._samples = self._sampled = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin anew, before a checkpoint is restored or any partner is drawn."""
        if stage != "fit":
            return
        self._staged.clear()
        self._samples = self._sampled = 0
        self._set_active_weight(trainer.current_epoch)
        if trainer.local_rank > 0:
            self._leave_shared_memory()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the criterion, which `SwapLoss` has replaced by now."""
        criterion = find_criterion(pl_module, self.attribute)
        self.field.to(pl_module.device)
        self._unwatch()
        self._calls = CriterionCalls(criterion)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from the step that a checkpoint was saved at."""
        self._steps_done = trainer.global_step
        self._set_active_weight(trainer.current_epoch)
        share = float(self.field.evidence.returned)
        if self.field.field_weight == AUTO and share <= HUBS:
            few = f"only {share:.0%} of its given edges are returned"
            rank_zero_warn(
                "The field's weight is auto, and "
                f"{few if share else 'it was given no neighbours'}: no partners are "
                "drawn. Set field_weight (--field.field-weight) to 0.5 to draw them in "
                "any case"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Read who is in the batch."""
        samples = read_batch(batch)
        self._samples += len(samples.index)
        self._sampled += int((samples.index != samples.partner).sum())
        assert self._calls is not None
        self._calls.begin(samples.of_views())

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
        noted = self._calls.end()
        # `training_step` returned None: its loss, and with it the batch, is dropped.
        dropped = pl_module.automatic_optimization and not outputs
        if not dropped:
            if not noted:
                raise RuntimeError(
                    f"Expected {type(pl_module).__name__}.training_step to call self."
                    f"{self.attribute} with embeddings that carry gradient, but it "
                    "did not"
                )
            self._staged += noted
        if trainer.global_step > self._steps_done:
            self._steps_done = trainer.global_step
            if self._staged:
                self._commit(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log, and end the warm-up after its last epoch."""
        values = {
            "row_entropy": float(self.field.row_entropy().mean()),
            "self_mass": float(self.field.self_mass.mean()),
            "coupling": self._coupling(trainer),
            "sampled": self._sampled / max(1, self._samples),
        }
        pl_module.log_dict(
            {f"field/{name}": v for name, v in values.items()}
            | {"field_trust": self.field.trust},
            sync_dist=True,
        )
        self._samples = self._sampled = 0
        # Now: workers draw the next epoch's first partners before it starts.
        self._set_active_weight(trainer.current_epoch + 1)

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
        """The field, and the epoch's count of partners, for the checkpoint."""
        return {
            "field": self.field.state_dict(),
            "samples": self._samples,
            "sampled": self._sampled,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the field.

        Raises:
            ValueError: The saved field is of other data, or of a newer version.
        """
        self.field.load_state_dict(state["field"])
        self._samples, self._sampled = state["samples"], state["sampled"]

    def _unwatch(self) -> None:
        if self._calls is not None:
            self._calls.remove()
            self._calls = None

    def _commit(self, trainer: Trainer) -> None:
        index = torch.cat([ids for ids, _ in self._staged])
        embeddings = torch.cat([z.float() for _, z in self._staged])
        self._staged.clear()
        if trainer.world_size > 1:
            counts = trainer.strategy.all_gather(index.new_tensor(len(index)))
            index = _of_all(trainer, index, counts)
            embeddings = _of_all(trainer, embeddings, counts)
        self.field.update(index, embeddings, coupling=self._coupling(trainer))

    def _coupling(self, trainer: Trainer) -> float:
        """a of this step; 0 as long as the warm-up leaves the rows alone."""
        start, end = self.field.coupling, self.final_coupling
        if trainer.current_epoch < self.warmup_epochs - 1:
            return 0.0
        if end is None:
            return start
        progress = min(1.0, trainer.global_step / trainer.estimated_stepping_batches)
        return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2

    def _set_active_weight(self, epoch: int) -> None:
        """Follow the rows as an epoch does: not during the warm-up."""
        self.field.follow(warming_up=epoch < self.warmup_epochs)

    def _leave_shared_memory(self) -> None:
        """Update rows of this process's own where it was forked or spawned.

        The first process of the machine keeps those of the parent. In place, since
        `FieldPairs` holds the same tensors.
        """
        names = [*Rows.__dataclass_fields__, "updates", "prior_share"]
        if self.field.embeddings_file is None:
            # Another process would overwrite what is compared with a pass before.
            names += ["embeddings", "valid"]
        tensors = [getattr(self.field, name) for name in names]
        for rows in (*tensors, *self.field.evidence.buffers()):
            own = rows.clone()
            rows.set_(own.share_memory_() if rows.is_shared() else own)


def _of_all(trainer: Trainer, rows: Tensor, counts: Tensor) -> Tensor:
    """Rows (B, ...) of all processes, whose numbers of rows may differ."""
    most = int(counts.max())
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows
    every = trainer.strategy.all_gather(padded)
    return torch.cat(
        [one[:count] for one, count in zip(every, counts.tolist(), strict=True)]
    )
