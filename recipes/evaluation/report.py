"""What `rkdo evaluate` prints."""

from dataclasses import replace

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluation.accuracy import evaluate, raw_pixels
from rkdo_plugin.recipes.evaluation.trained import Trained


def evaluation_report(
    trained: Trained,
    data: str | None,
    limit: int | None,
    root: str | None,
    seed: int | None = None,
    *,
    pixels: bool = False,
) -> str:
    """Accuracies of the frozen features, or what the recipe reports of itself.

    Args:
        trained: The encoder, perhaps with its recipe.
        data: A data set's name; the one that the encoder was trained on by default.
        limit: Read `limit` training images only, drawn evenly from all classes. A
            recipe that reports reads those that it was trained on by default.
        root: Folder that holds the data sets.
        seed: Seed of the draw; the run's by default.
        pixels: Score the raw pixels, too.

    Raises:
        ValueError: No data is named or recorded, or `pixels` is asked of a recipe that
            reports on itself.
    """
    name, recipe = data or trained.data, trained.recipe
    if name is None:
        raise ValueError(f"Expected `data`, which {trained.path} does not record")
    if recipe is not None:
        if pixels:
            raise ValueError("Expected no --pixels with a recipe that reports itself")
        limit = limit or trained.limit
    size = trained.encoder.image_size
    seed = trained.seed if seed is None else seed
    images = load_data(name, root=root, limit=limit, seed=seed, image_size=size)
    if recipe is not None:
        if trained.normalization is not None:
            images = replace(images, **trained.normalization._asdict())
        return recipe.report(images, trained.path.parent)
    rows = {str(trained.path): trained.encoder.embed}
    if pixels:
        rows["raw pixels"] = raw_pixels
    lines = [
        f"{images.name}: {len(images.train):,} training images, "
        f"{len(images.test):,} test images; one model, no spread"
    ]
    for row, embed in rows.items():
        scores = evaluate(embed, images)
        lines.append(
            f"  kNN {scores['knn']:.4f}   linear {scores['linear']:.4f}   {row}"
        )
    return "\n".join(lines)
