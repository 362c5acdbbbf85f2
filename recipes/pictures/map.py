"""A map's picture: images at their places, and all of them as points."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray

from rkdo_plugin.recipes.pictures.palette import INK, class_color, new_figure, save

CELLS = 32  # cells of the grid on each side; each shows at most one image


def draw_map(
    path: Path,
    places: NDArray[np.floating[Any]],
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
) -> None:
    """Write the picture as a PNG.

    Args:
        path: The file; an older one is replaced.
        places: Places (N, 2) of the images.
        images: (N, H, W, C) uint8, C = 1 or 3.
        labels: Classes (N,); -1 for no class.
    """
    figure = new_figure(18, 9, layout="constrained")
    points, pictures = figure.subplots(1, 2)
    # Without this a few far places would shrink all others.
    low, high = np.quantile(places, [0.001, 0.999], axis=0)
    margin = 0.04 * (high - low)
    for axes in (points, pictures):
        axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
        axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
        axes.set_axis_off()
    _draw_points(points, places, labels)
    _draw_images(pictures, places, images, labels, low, high)
    figure.suptitle(f"{len(places):,} images, and some of them at their places")
    save(figure, path)


def _draw_points(
    axes: Axes, places: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]
) -> None:
    colors = [class_color(label) for label in labels.tolist()]
    axes.scatter(places[:, 0], places[:, 1], c=colors, s=4, linewidths=0)
    if labels.min() < 0:
        return
    for label in np.unique(labels).tolist():
        x, y = np.median(places[labels == label], axis=0)
        style = {"boxstyle": "circle", "fc": "white", "ec": class_color(label), "lw": 2}
        axes.text(x, y, str(label), color=INK, fontsize=12, bbox=style, ha="center")


def _draw_images(
    axes: Axes,
    places: NDArray[np.floating[Any]],
    images: NDArray[np.uint8],
    labels: NDArray[np.integer[Any]],
    low: NDArray[np.floating[Any]],
    high: NDArray[np.floating[Any]],
) -> None:
    """In each cell of a grid the image nearest to its middle, if there is one."""
    step = (high - low) / CELLS
    cells = np.floor((places - low) / step).astype(int)
    off_centre = np.abs((places - low) / step - cells - 0.5).sum(axis=1)
    shown = set()
    for index in np.argsort(off_centre).tolist():
        cell = tuple(cells[index].tolist())
        if cell in shown or not all(0 <= side < CELLS for side in cell):
            continue
        shown.add(cell)
        picture = _in_color(images[index], int(labels[index]))
        zoom = 560 / CELLS / max(picture.shape[:2]) * 0.95
        axes.add_artist(
            AnnotationBbox(
                OffsetImage(picture, zoom=zoom), places[index], frameon=False
            )
        )


def _in_color(image: NDArray[np.uint8], label: int) -> NDArray[np.floating[Any]]:
    """A grey image in the colour of its class; a colour image unchanged."""
    if image.shape[2] == 3:
        colored: NDArray[np.floating[Any]] = image / 255
        return colored
    ink = np.empty((*image.shape[:2], 4))
    ink[..., :3] = to_rgb(class_color(label))
    ink[..., 3] = image[..., 0] / 255
    return ink
