"""Nearest neighbours' accuracy while a recipe trains."""

import pytorch_lightning as pl

from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy


class OnlineKNN(pl.Callback):
    """Logs "knn", the nearest neighbours' accuracy on the test images.

    Args:
        data: Labelled images.
        every: Number of epochs from one measurement to the next.

    Raises:
        ValueError: The images have no classes.
    """

    def __init__(self, data: ImageData, every: int) -> None:
        check_count("knn_every", every)
        if data.num_classes < 2 or len(data.test) == 0:
            raise ValueError(
                f"Expected labelled test images with knn_every but {data.name} has none"
            )
        self.data = data
        self.every = every

    def on_train_epoch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Measure on a copy: the recipe trains on as if nothing had happened."""
        if (trainer.current_epoch + 1) % self.every:
            return
        assert isinstance(pl_module, Recipe)
        train, train_labels = as_arrays(self.data.train, self.data.image_size)
        test, test_labels = as_arrays(self.data.test, self.data.image_size)
        embed = pl_module.frozen(self.data).embed
        accuracy = knn_accuracy(embed(train), train_labels, embed(test), test_labels)
        pl_module.log("knn", accuracy, prog_bar=True)
