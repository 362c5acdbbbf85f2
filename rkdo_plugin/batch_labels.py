"""Hand a batch's labels to a criterion that reads them, whatever the recipe."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from rkdo_plugin.criterion import find_criterion
from rkdo_plugin.options import check_type


class BatchLabels(Callback):
    """Gives a criterion such as SupCon's the labels of each Lightly batch.

    Lightly's batches are (views, labels, ...). Recipes give their criterion the views'
    embeddings only. A criterion that reads no labels is called as before.

    Args:
        attribute: The recipe's attribute that is the criterion. A dotted name reaches
            modules within modules: "criterion.criterion".

    Raises:
        AttributeError: The recipe holds no criterion there.

    Example:
        >>> recipe = create_recipe("simclr", loss="supcon")
        >>> trainer = Trainer(callbacks=[BatchLabels()], logger=False)
    """

    def __init__(self, attribute: str = "criterion") -> None:
        check_type("attribute", attribute, str, "a name")
        self.attribute = attribute
        self._labels: Tensor | None = None
        self._told: nn.Module | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen to the calls of the criterion, if it reads labels."""
        criterion = find_criterion(pl_module, self.attribute)
        if getattr(criterion, "reads_labels", False) and criterion is not self._told:
            criterion.register_forward_pre_hook(self._tell, with_kwargs=True)
            self._told = criterion

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the labels of a batch on its way to `training_step`."""
        self._labels = _labels(batch)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Remember the labels of a batch on its way to `validation_step`."""
        self._labels = _labels(batch)

    def _tell(
        self, criterion: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if len(args) > 2 or "targets" in kwargs:
            return args, kwargs
        return args, {**kwargs, "targets": self._labels}


def _labels(batch: Any) -> Tensor | None:
    second = batch[1] if isinstance(batch, list | tuple) and len(batch) > 1 else None
    return second if isinstance(second, Tensor) else None
