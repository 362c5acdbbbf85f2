"""The demo's picture: loss curves, and the embeddings as a map of the images."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from rkdo_plugin.recipes.pictures.palette import (
    CLASSES,
    class_color,
    new_figure,
    save,
)


def draw_demo(
    path: Path,
    losses: dict[str, NDArray[np.float64]],
    embeddings: NDArray[np.float32],
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    encoder: str,
) -> None:
    """Write the picture as a PNG.

    Args:
        path: The file.
        losses: Steps and losses (L, 2) of each run.
        embeddings: Embeddings (N, D) of unit norm.
        images: (N, H, W, 1) uint8, light on dark.
        labels: Classes (N,), 0 to 9.
        encoder: Name of the encoder that computed the embeddings.
    """
    figure = new_figure(15, 9, layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(1, 2.2))
    curves, map_ = (figure.add_subfigure(halves[side]) for side in (0, 1))
    panels = curves.subplots(len(losses), 1, sharex=True)
    for panel, (name, values), color in zip(
        panels, losses.items(), CLASSES, strict=False
    ):
        panel.plot(values[:, 0], values[:, 1], color=color, linewidth=2)
        panel.set_title(name, loc="left", fontsize=12)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    panels[-1].set_xlabel("step")
    curves.suptitle("Training loss: own scales, not comparable", fontsize=13)
    _draw_map(map_.subplots(), embeddings, images, labels)
    map_.suptitle(
        f"{len(images)} test digits where {encoder} puts them (t-SNE of the exported "
        "embeddings)",
        fontsize=13,
    )
    save(figure, path)


def _draw_map(
    axes: Axes,
    embeddings: NDArray[np.float32],
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
) -> None:
    """Each image at its place, in the colour of its class."""
    places = TSNE(
        metric="cosine", init="pca", perplexity=20, random_state=0
    ).fit_transform(embeddings)
    axes.set_xlim(places[:, 0].min() - 3, places[:, 0].max() + 3)
    axes.set_ylim(places[:, 1].min() - 3, places[:, 1].max() + 3)
    axes.set_axis_off()
    for place, image, label in zip(places, images, labels, strict=True):
        ink = np.empty((*image.shape[:2], 4))
        ink[..., :3] = to_rgb(class_color(int(label)))
        ink[..., 3] = image[..., 0] / 255
        axes.add_artist(
            AnnotationBbox(OffsetImage(ink, zoom=0.62), place, frameon=False)
        )
