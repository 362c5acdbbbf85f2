"""TensorBoard's embedding projector: test images at the places of their features."""

from pytorch_lightning.loggers import TensorBoardLogger
from torch import from_numpy

from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.recipes.base.recipe import Recipe
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData, as_arrays

SHOWN = 1000  # images


def project(recipe: Recipe, data: ImageData) -> None:
    """Put test images, by their features, into TensorBoard's embedding projector.

    Args:
        recipe: Trained, and still attached to its trainer.
        data: Its data; training images are shown where there are no test images.
    """
    images = data.test if len(data.test) else data.train
    few = draw(images, SHOWN, seed=0)
    pixels, labels = as_arrays(few, data.image_size)
    features = recipe.frozen(data).embed(pixels)
    # TensorBoard's pictures are square, in grey or colour.
    square, _ = as_arrays(few, min(sides(data.image_size)))
    shown = square if data.channels == 3 else square[..., :1]
    for logger in recipe.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_embedding(
                features,
                metadata=labels.tolist(),
                label_img=from_numpy(shown).permute(0, 3, 1, 2) / 255,
                global_step=recipe.global_step,
                tag="features",
            )
