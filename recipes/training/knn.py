"""What is measured of the features while they are trained."""

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger
from torch import from_numpy, nn

from rkdo_plugin.export import Encoder
from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.data.images import ImageData, as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import knn_accuracy
from rkdo_plugin.recipes.evaluation.model import torch_embed

PROJECTED = 1000  # images in TensorBoard's embedding projector


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
        train, train_labels = as_arrays(self.data.train, self.data.image_size)
        test, test_labels = as_arrays(self.data.test, self.data.image_size)
        embed = torch_embed(frozen(pl_module, self.data))
        accuracy = knn_accuracy(embed(train), train_labels, embed(test), test_labels)
        pl_module.log("knn", accuracy, prog_bar=True)


def project(recipe: pl.LightningModule, data: ImageData) -> None:
    """Put test images, by their features, into TensorBoard's embedding projector.

    Args:
        recipe: Trained, and still attached to its trainer.
        data: Its data; training images where there are no test images.
    """
    images = data.test if len(data.test) else data.train
    count = min(PROJECTED, len(images))
    pixels, labels = as_arrays([images[i] for i in range(count)], data.image_size)
    features = torch_embed(frozen(recipe, data))(pixels)
    for logger in recipe.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_embedding(
                features,
                metadata=labels.tolist(),
                label_img=from_numpy(pixels).permute(0, 3, 1, 2) / 255,
                global_step=recipe.global_step,
                tag="features",
            )


def frozen(recipe: pl.LightningModule, data: ImageData) -> Encoder:
    """The recipe's encoder as it is now, with the data's preprocessing."""
    backbone = recipe.backbone
    assert isinstance(backbone, nn.Module)
    return Encoder(backbone, image_size=data.image_size, mean=data.mean, std=data.std)
