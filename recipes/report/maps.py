"""Maps of test images: where the encoders of runs put them, drawn in a plane."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.manifold import TSNE

from rkdo_plugin.export import freeze
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages, as_arrays
from rkdo_plugin.recipes.evaluation.run_folder import checkpoint_of
from rkdo_plugin.recipes.map2d import NEIGHBORS, map_accuracy

LARGEST = 1000  # images on a map
SMALLEST = NEIGHBORS + 2  # fewer make no map
SIDE = 64  # pixels of the longer side of a thumbnail


@dataclass(frozen=True)
class MapImages:
    """The images of all maps.

    Attributes:
        part: N images of the data, drawn evenly from all classes.
        labels: Their classes (N,), -1 where there is none.
        labelled: Whether there are classes.
        held_out: Whether no run trained on them.
        thumbnails: Data URLs.
    """

    part: LabelledImages
    labels: NDArray[np.int64]
    labelled: bool
    held_out: bool
    thumbnails: list[str]


@dataclass(frozen=True)
class Map:
    """Where an encoder puts the images.

    Attributes:
        places: (N, 2), in [0, 1].
        method: How features became places, in words.
        alike: For each class its number of images, and the share of their ten nearest
            places that are of the same class; empty without classes.
        accuracy: Of the vote of the ten nearest places; None without classes.
    """

    places: NDArray[np.float64]
    method: str
    alike: dict[int, tuple[int, float]]
    accuracy: float | None


def map_images(data: ImageData, count: int) -> MapImages:
    """Draw the images of the maps: test images where there are any.

    Args:
        data: The data set.
        count: Number of images, at most `LARGEST`.

    Raises:
        ValueError: `count` is out of range, or there are too few images.
    """
    if not SMALLEST <= count <= LARGEST:
        raise ValueError(
            f"Expected `points` to be 0, for no maps, or from {SMALLEST} to {LARGEST} "
            f"but got {count}"
        )
    held_out = len(data.test) > 0
    part = draw(data.test if held_out else data.train, count, seed=0)
    if len(part) < SMALLEST:
        raise ValueError(
            f"Expected at least {SMALLEST} images for a map but {data.name} has "
            f"{len(part)}"
        )
    images, labels = as_arrays(part, data.image_size)
    return MapImages(
        part, labels, data.num_classes > 1, held_out, [_thumbnail(i) for i in images]
    )


def map_of(run: Path, images: MapImages) -> Map:
    """Embed the images by a run's encoder, and lay them out in a plane.

    Args:
        run: A run folder.
        images: The images.

    Raises:
        ValueError: The checkpoint holds no encoder that can be frozen.
    """
    encoder = freeze(checkpoint_of(run))
    pixels, _ = as_arrays(images.part, encoder.image_size)
    places, method = plane(encoder.embed(pixels), encoder.normalize)
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - low) / np.where(high > low, high - low, 1)
    if not images.labelled:
        return Map(places, method, {}, None)
    alike = _alike(places, images.labels)
    return Map(places, method, alike, map_accuracy(places, images.labels))


def plane(
    embeddings: NDArray[np.floating[Any]], directions: bool
) -> tuple[NDArray[np.float64], str]:
    """Places (N, 2) of embeddings (N, D), and how they were found.

    Args:
        embeddings: Of N images.
        directions: Whether their directions alone matter.
    """
    if embeddings.shape[1] == 2:
        return embeddings.astype(np.float64), "the encoder's own plane"
    distance = "cosine" if directions else "euclidean"
    layout = TSNE(
        metric=distance,
        init="pca",
        perplexity=min(30.0, (len(embeddings) - 1) / 3),
        random_state=0,
    )
    places = layout.fit_transform(embeddings.astype(np.float64))
    return places.astype(np.float64), f"t-SNE of {embeddings.shape[1]} features"


def _alike(
    places: NDArray[np.float64], labels: NDArray[np.int64]
) -> dict[int, tuple[int, float]]:
    squared = ((places[:, None] - places) ** 2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    nearest = np.argsort(squared, axis=1, kind="stable")[:, :NEIGHBORS]
    shares = (labels[nearest] == labels[:, None]).mean(axis=1)
    return {
        int(label): (
            int((labels == label).sum()),
            float(shares[labels == label].mean()),
        )
        for label in np.unique(labels)
    }


def _thumbnail(image: NDArray[np.uint8]) -> str:
    """A small picture as a data URL; of other bands than gray and RGB, the first."""
    picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    picture.thumbnail((SIDE, SIDE))
    return data_url(picture, "JPEG" if image.shape[2] == 3 else "PNG")


def data_url(picture: Image.Image, kind: str = "PNG") -> str:
    """A picture inside a page."""
    file = io.BytesIO()
    picture.save(file, format=kind, optimize=True)
    content = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind.lower()};base64,{content}"
