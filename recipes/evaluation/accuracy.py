"""How good frozen features are: nearest neighbours and a linear classifier."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from lightly.utils.benchmarking.knn import knn_predict
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional
from torch.utils.data import Subset

from rkdo_plugin.recipes.data.images import ImageData, LabelledImages, as_arrays

NEIGHBORS = 20  # neighbours that vote
TEMPERATURE = 0.1  # a neighbour of cosine similarity s votes with weight exp(s / t)
QUERIES = 1024  # rows of the similarity matrix that are in memory at once
READ = 4096  # images that are in memory at once; whole batches of an encoder

Features = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Embed = Callable[[NDArray[np.uint8]], Features]
"""From images (N, H, W, C) uint8 to features (N, D)."""


class Embedded(NamedTuple):
    """The features of a data set's images, and their classes.

    Attributes:
        train: Features (N, D) of the training images.
        train_labels: Their classes (N,).
        test: Features (M, D) of the test images.
        test_labels: Their classes (M,).
    """

    train: Features
    train_labels: Labels
    test: Features
    test_labels: Labels


def raw_pixels(images: NDArray[np.uint8]) -> Features:
    """The pixels themselves (N, H * W * C): what any encoder should improve on."""
    return images.reshape(len(images), -1).astype(np.float32)


def evaluate(embed: Embed, data: ImageData) -> dict[str, float]:
    """Accuracy on the test images of classifiers that see the training features.

    Args:
        embed: From images (N, H, W, C) uint8 to features (N, D), such as the method
            `embed` of an `Encoder` or of an `EmbeddingSession`.
        data: The labelled images.

    Returns:
        "knn" and "linear": accuracies in [0, 1].

    Raises:
        ValueError: The images have no classes.

    Example:
        >>> from rkdo_plugin.recipes.data import load_data
        >>> embed = lambda images: images.reshape(len(images), -1).astype(np.float32)
        >>> scores = evaluate(embed, load_data("digits"))  # raw pixels
        >>> sorted(scores)
        ['knn', 'linear']
    """
    return accuracies(embed_data(embed, data))


def embed_data(embed: Embed, data: ImageData) -> Embedded:
    """The features of labelled images; arguments and errors are those of `evaluate`."""
    if data.num_classes < 2:
        raise ValueError(
            f"Expected images of at least two classes to evaluate on but {data.name} "
            f"has {data.num_classes}"
        )
    train = embed_images(embed, data.train, data)
    return Embedded(*train, *embed_images(embed, data.test, data))


def embed_images(
    embed: Embed, images: LabelledImages, data: ImageData
) -> tuple[Features, Labels]:
    """The features (N, D) and the classes (N,) of images, read a part at a time.

    Args:
        embed: As of `evaluate`.
        images: Those of `data`, or a part of them.
        data: Says the size.

    Raises:
        ValueError: There are no images.
    """
    whole: Any = images
    features, labels = [], []
    for start in range(0, max(len(images), 1), READ):
        part: Any = Subset(whole, range(start, min(start + READ, len(images))))
        pixels, classes = as_arrays(part, data.image_size)
        features.append(embed(pixels))
        labels.append(classes)
    return np.concatenate(features), np.concatenate(labels)


def accuracies(features: Embedded) -> dict[str, float]:
    """What `evaluate` returns, of features that were computed already."""
    return {"knn": knn_accuracy(*features), "linear": linear_accuracy(*features)}


def knn_accuracy(
    train: Features, train_labels: Labels, test: Features, test_labels: Labels
) -> float:
    """Accuracy of the weighted vote of the nearest neighbours by cosine similarity.

    Args:
        train: Features (N, D) of the neighbours.
        train_labels: Their classes (N,), from 0.
        test: Features (M, D) to classify.
        test_labels: Their classes (M,).

    Returns:
        Accuracy in [0, 1].
    """
    bank = functional.normalize(torch.as_tensor(train).float(), dim=1).T
    queries = functional.normalize(torch.as_tensor(test).float(), dim=1)
    bank_labels = torch.as_tensor(train_labels)
    predictions = [
        knn_predict(
            queries[start : start + QUERIES],
            bank,
            bank_labels,
            num_classes=int(bank_labels.max()) + 1,
            knn_k=min(NEIGHBORS, len(train)),
            knn_t=TEMPERATURE,
        )[:, 0]
        for start in range(0, len(queries), QUERIES)
    ]
    correct = torch.cat(predictions) == torch.as_tensor(test_labels)
    return float(correct.float().mean())


def linear_accuracy(
    train: Features, train_labels: Labels, test: Features, test_labels: Labels
) -> float:
    """Accuracy of a logistic regression on standardised features.

    Arguments and result are those of `knn_accuracy`.
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(train, train_labels)
    return float(probe.score(test, test_labels))
