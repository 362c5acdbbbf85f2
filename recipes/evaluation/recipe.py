"""A recipe as it was trained, and what it has to say of itself."""

from pathlib import Path
from typing import Any

from rkdo_plugin.plugins.create import host
from rkdo_plugin.recipes.data.images import load_data
from rkdo_plugin.recipes.evaluation.model import checkpoint_of
from rkdo_plugin.recipes.training.run_folder import read_checkpoint


def load_recipe(path: Path) -> Any | None:
    """The trained recipe of a run, if it is of a kind that reports on itself.

    Args:
        path: A run folder, its checkpoint, or anything else.

    Returns:
        The recipe with its weights; None for a file that is no run's checkpoint, and
        for recipes without a method `report`.
    """
    checkpoint = checkpoint_of(path)
    if checkpoint.suffix != ".ckpt":
        return None
    saved = read_checkpoint(checkpoint)
    name = saved.get("rkdo", {}).get("recipe")
    if name is None:
        return None
    factory = host().factory("recipe", name)
    if not hasattr(factory, "report"):
        return None
    recipe = factory(**saved["hyper_parameters"])
    recipe.load_state_dict(saved["state_dict"])
    recipe.trained_on = saved["rkdo"]["data"]
    recipe.trained_limit = saved["rkdo"].get("limit")
    return recipe.eval()


def recipe_report(
    recipe: Any, path: Path, data: str | None, root: str | None, limit: int | None
) -> str:
    """What a trained recipe says of a data set.

    Args:
        recipe: From `load_recipe`.
        path: Its run folder or checkpoint; its picture goes into the folder.
        data: Name of the data; what it was trained on when not given.
        root: Folder that holds the data sets.
        limit: Read the first so many training images only; those that it was trained on
            when not given.
    """
    size = recipe.hparams["image_size"]
    images = load_data(
        data or recipe.trained_on,
        root=root,
        limit=limit or recipe.trained_limit,
        image_size=size,
    )
    report: str = recipe.report(images, checkpoint_of(path).parent)
    return report
