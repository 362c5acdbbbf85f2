"""Features by name from which a response field finds its first neighbours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from rkdo_plugin.export import Encoder, ImageEmbedder
from rkdo_plugin.export.encoder.arrays import load_array
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.encoder.pictures import READ_ERRORS
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages, as_arrays
from rkdo_plugin.recipes.encoders.start import published_encoder
from rkdo_plugin.recipes.evaluation.trained import load_trained
from rkdo_plugin.recipes.field.hog import fit_hog
from rkdo_plugin.recipes.field.vectors import SUFFIXES, vectors_of

SMALL = 32  # pixels: larger images are reduced to this size before they are described
COMPONENTS = 64  # of the whitened pixels
PUBLISHED = ("timm:", "torchvision:")  # networks that come with their weights
ROUNDING = 1e-6  # of a row's largest feature: what float32 rounds away
BATCH = 32  # images that are in memory at a time at the size that a network reads

Features = NDArray[np.float32]
Describe = Callable[[LabelledImages], Features]


def features_by_name(name: str, data: ImageData) -> Features:
    """Features of the training images.

    Args:
        name: "pixels"; "pca", the whitened principal components of the pixels; "hog",
            histograms of oriented gradients, and of colour; "timm:NAME" or
            "torchvision:NAME", a network with the weights that its authors publish; a
            run folder, a checkpoint or an ONNX file; a .parquet file of `rkdo embed`
            or a .npz file of `paths` and `vectors`, whose images are found by path; or
            a .npy file of features (N, F), in the order of the images.
        data: The images.

    Returns:
        (N, F), centred. A row that differs from the mean by rounding errors is zero.

    Raises:
        FileNotFoundError: A run folder has no checkpoint.
        OSError: Published weights cannot be downloaded.
        ValueError: The name is neither known nor a file; the model reads other images;
            or a file's features are not of N images.

    Example:
        >>> from rkdo_plugin.recipes.data import load_data
        >>> features_by_name("hog", load_data("digits")).shape  # 7 x 7 cells
        (1437, 1323)
    """
    features, _ = fit_features(name, data)
    return features


def fit_features(name: str, data: ImageData) -> tuple[Features, Describe | None]:
    """Features of the training images, and a function that describes other images.

    The centre and the principal components are those of the training images. There is
    no such function where the features come from a .npy, .npz or .parquet file. The
    arguments and errors are those of `features_by_name`.
    """
    train, describe = _uncentred(name, data)
    # The part that all samples share says nothing about neighbours.
    center = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    if describe is None:
        return _centred(train, center), None
    return _centred(train, center), lambda images: _centred(describe(images), center)


def _centred(features: Features, center: Features) -> Features:
    """Deviations from the centre; zero in the rows where they are rounding errors."""
    deviations = features - center
    rounding = _peak(deviations) <= ROUNDING * _peak(features)
    deviations[rounding] = 0
    return deviations


def _peak(rows: Features) -> Features:
    highest: Features = np.maximum(rows.max(axis=1), -rows.min(axis=1))
    return highest


def _uncentred(name: str, data: ImageData) -> tuple[Features, Describe | None]:
    side = min(*sides(data.image_size), SMALL)
    if name == "pixels":
        return _pixels(data.train, side), lambda images: _pixels(images, side)
    if name == "pca":
        return _whitened_pixels(data.train, side)
    if name == "hog":
        return _hog(data.train, side)
    if name.startswith(PUBLISHED):
        return _of_encoder(_published(name), data.train, colour=True)
    if Path(name).suffix == ".npy" and Path(name).is_file():
        return _of_file(Path(name), len(data.train)), None
    if Path(name).suffix in SUFFIXES and Path(name).is_file():
        return _finite(Path(name), vectors_of(Path(name), data)), None
    if Path(name).exists():
        return _of_encoder(load_trained(Path(name)).encoder, data.train)
    raise ValueError(
        "Expected the start of a field to be one-hot, pixels, pca, hog, timm:NAME, "
        "torchvision:NAME, a run folder, a checkpoint, an .onnx encoder, a .parquet "
        "file of rkdo embed, a .npz file of paths and vectors or a .npy file of "
        f"features but got '{name}', and there is no such file"
    )


def _pixels(images: LabelledImages, side: int) -> Features:
    arrays, _ = as_arrays(images, side)
    return arrays.reshape(len(arrays), -1).astype(np.float32)


def _whitened_pixels(train: LabelledImages, side: int) -> tuple[Features, Describe]:
    pixels = _pixels(train, side)
    if not np.ptp(pixels, axis=0).any():
        # Images that are all the same have no components, and zeros once centred.
        return pixels, lambda images: _pixels(images, side)
    pca = PCA(min(COMPONENTS, *pixels.shape), random_state=0).fit(pixels)
    variance = pca.explained_variance_
    # The other components are rounding errors, which whitening would blow up.
    kept = variance > np.finfo(np.float32).eps * variance[0]
    scale = np.sqrt(variance[kept])

    def whiten(flat: Features) -> Features:
        whitened: Features = pca.transform(flat)[:, kept] / scale
        return whitened

    return whiten(pixels), lambda images: whiten(_pixels(images, side))


def _hog(train: LabelledImages, side: int) -> tuple[Features, Describe]:
    features, describe = fit_hog(as_arrays(train, side)[0])
    return features, lambda images: describe(as_arrays(images, side)[0])


def _of_file(path: Path, num_images: int) -> Features:
    try:
        with path.open("rb") as file:
            features = load_array(file)
    except READ_ERRORS as error:
        raise ValueError(
            f"Expected {path} to be an array of numbers but got: {error}"
        ) from error
    if features.ndim != 2 or len(features) != num_images or features.size == 0:
        raise ValueError(
            f"Expected {path} to hold features ({num_images}, F), one row for each "
            f"training image, but got {features.shape}"
        )
    if features.dtype.kind not in "fiub":
        raise ValueError(f"Expected {path} to hold numbers but got {features.dtype}")
    return _finite(path, features.astype(np.float32))


def _finite(path: Path, features: Features) -> Features:
    for row in (~np.isfinite(features).all(axis=1)).nonzero()[0][:1]:
        raise ValueError(f"Expected {path} to be finite but row {row} is not")
    return features


def _published(name: str) -> Encoder:
    """A published network with its own preprocessing, on a GPU if there is one."""
    network: Any = published_encoder(name, in_channels=3)
    reads = network.pretrained_cfg
    encoder = Encoder(
        network,
        image_size=tuple(reads["input_size"][1:]),
        mean=reads["mean"],
        std=reads["std"],
    )
    return encoder.to("cuda" if torch.cuda.is_available() else "cpu")


def _of_encoder(
    encoder: ImageEmbedder, train: LabelledImages, *, colour: bool = False
) -> tuple[Features, Describe]:
    """Embeddings; with `colour` the one channel of grey images is repeated."""

    def describe(images: LabelledImages) -> Features:
        features = np.empty((len(images), encoder.dim), dtype=np.float32)
        for start in range(0, len(images), BATCH):
            part = range(start, min(start + BATCH, len(images)))
            pixels, _ = as_arrays([images[i] for i in part], encoder.image_size)
            if colour:
                pixels = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
            features[part.start : part.stop] = encoder.embed(pixels)
        return features

    return describe(train), describe
