"""Features by name from which a response field finds its first neighbours."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.feature import hog
from sklearn.decomposition import PCA

from rkdo_plugin.recipes.data import ImageData, as_arrays
from rkdo_plugin.recipes.features import load_model

SMALL = 32  # pixels: larger images are reduced to it for descriptors of whole images
CELL = 4  # pixels of a cell, each a histogram of nine orientations
COMPONENTS = 64  # of the whitened pixels


def features_by_name(name: str, data: ImageData) -> NDArray[np.float32]:
    """Features of the training images.

    Args:
        name: "pixels"; "pca", the whitened principal components of the pixels; "hog",
            histograms of oriented gradients; a run folder, a checkpoint or an ONNX
            file.
        data: The images.

    Returns:
        (N, F), centred.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The name is unknown, or the model reads other images.
    """
    builders = {"pixels": _pixels, "pca": _whitened_pixels, "hog": _hog}
    if name in builders:
        features = builders[name](data)
    elif Path(name).exists():
        features = _of_model(Path(name), data)
    else:
        raise ValueError(
            f"no features named '{name}', and no such file either; known: "
            + ", ".join(builders)
        )
    # What all samples share says nothing about who is near whom.
    centred: NDArray[np.float32] = features - features.mean(axis=0)
    return centred


def _pixels(data: ImageData) -> NDArray[np.float32]:
    images, _ = as_arrays(data.train, min(data.image_size, SMALL))
    return images.reshape(len(images), -1).astype(np.float32)


def _whitened_pixels(data: ImageData) -> NDArray[np.float32]:
    features = _pixels(data)
    components = min(COMPONENTS, *features.shape)
    pca = PCA(components, whiten=True, random_state=0)
    whitened: NDArray[np.float32] = pca.fit_transform(features)
    return whitened


def _hog(data: ImageData) -> NDArray[np.float32]:
    images, _ = as_arrays(data.train, min(data.image_size, SMALL))
    cells = min(data.image_size, SMALL) // CELL
    return np.stack(
        [
            # One block, of the whole image: local contrast tells clothes apart.
            hog(
                image.mean(axis=2),
                pixels_per_cell=(CELL, CELL),
                cells_per_block=(cells, cells),
                block_norm="L1-sqrt",
            )
            for image in images
        ]
    ).astype(np.float32)


def _of_model(path: Path, data: ImageData) -> NDArray[np.float32]:
    model = load_model(path)
    images, _ = as_arrays(data.train, model.image_size)
    return model.embed(images)
