"""Accuracy in the plane of scikit-learn's t-SNE, and of a trained map beside it.

    rkdo train --recipe map2d --data fashion-mnist --limit 10000 --epochs 60 \
        --batch-size 1000 --out runs/map
    python benchmarks/map2d.py runs/map

Both read raw pixels of the run's training images; t-SNE cannot place others.
"""

import sys
import time
from pathlib import Path

from sklearn.manifold import TSNE

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays
from rkdo_plugin.recipes.evaluation.trained import load_trained
from rkdo_plugin.recipes.map2d import Map2D, map_accuracy


def main(run: str) -> None:
    """Print a line each."""
    trained = load_trained(Path(run))
    recipe = trained.recipe
    assert isinstance(recipe, Map2D) and trained.data is not None
    data = load_data(trained.data, limit=trained.limit)
    images, labels = as_arrays(data.train, data.image_size)
    test_images, test_labels = as_arrays(data.test, data.image_size)
    started = time.perf_counter()
    places = TSNE(init="pca", random_state=0).fit_transform(
        images.reshape(len(images), -1) / 255.0
    )
    seconds = time.perf_counter() - started
    print(f"t-SNE  {map_accuracy(places, labels):.4f}, {seconds:.0f} s")
    places, unseen = (recipe.places(side, data) for side in (images, test_images))
    test = map_accuracy(places, labels, unseen, test_labels)
    print(f"map2d  {map_accuracy(places, labels):.4f}, test images {test:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
