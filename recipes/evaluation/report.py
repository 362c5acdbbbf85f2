"""What `rkdo evaluate` prints."""

from dataclasses import replace

import numpy as np

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.evaluation.accuracy import (
    Embed,
    Embedded,
    accuracies,
    embed_data,
    embed_images,
    raw_pixels,
)
from rkdo_plugin.recipes.evaluation.label_free import IMAGES, measure_label_free
from rkdo_plugin.recipes.evaluation.measures import (
    NEIGHBORS,
    Array,
    mean_average_precision,
    neighbourhood_accuracy,
)
from rkdo_plugin.recipes.evaluation.trained import Trained

QUERIES = 2000  # test images that are searched for, at most


def evaluation_report(
    trained: Trained,
    data: str | None,
    limit: int | None,
    root: str | None,
    seed: int | None = None,
    *,
    pixels: bool = False,
) -> str:
    """Measures of the frozen features, or what the recipe reports of itself.

    Images without classes have those measures alone that need no labels.

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
            reports on itself, or of images without classes.
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
    embed = trained.encoder.embed
    if images.num_classes < 2:
        if pixels:
            raise ValueError(f"Expected no --pixels: {images.name} has no classes")
        some = draw(images.train, IMAGES, seed)
        features, _ = embed_images(embed, some, images)
        lines = [f"{images.name}: {len(images.train):,} images without classes"]
    else:
        features, lines = _with_labels(embed, images, str(trained.path), seed, pixels)
    free = measure_label_free(features, embed, images, trained.views, seed)
    return "\n".join([*lines, str(free)])


def _with_labels(
    embed: Embed, images: ImageData, name: str, seed: int, pixels: bool
) -> tuple[Array, list[str]]:
    """The features of the training images, and what labels say of all of them."""
    found = {name: embed_data(embed, images)}
    if pixels:
        found["raw pixels"] = embed_data(raw_pixels, images)
    lines = [
        f"{images.name}: {len(images.train):,} training images, "
        f"{len(images.test):,} test images; one model, no spread"
    ]
    for row, features in found.items():
        scores = accuracies(features)
        lines.append(
            f"  kNN {scores['knn']:.4f}   linear {scores['linear']:.4f}   {row}"
        )
    asked = np.random.default_rng(seed).permutation(len(images.test))[:QUERIES]
    count = min(NEIGHBORS, len(asked) - 1)
    for row, features in found.items():
        lines.append(f"  {_retrieval(features, asked, count)}   {row}")
    lines.append(
        f"  mAP: {len(asked):,} test images search the training images; same class: of "
        f"the {count} nearest other test images"
    )
    return found[name].train, lines


def _retrieval(features: Embedded, asked: Array, count: int) -> str:
    """How well a search among the images finds those of the same class."""
    test, labels = features.test[asked], features.test_labels[asked]
    found = mean_average_precision(test, labels, features.train, features.train_labels)
    same = neighbourhood_accuracy(test, labels, count) if count else float("nan")
    return f"mAP {found:.4f}   same class {same:.4f}"
