"""A picture of clusters: one row for each cluster, with some of its images."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rkdo_plugin.recipes.data.images import LabelledImages
from rkdo_plugin.recipes.pictures.palette import new_figure, save

IMAGES = 16  # in a row


def draw_clusters(
    path: Path, images: LabelledImages, clusters: NDArray[np.integer[Any]], count: int
) -> None:
    """Write the picture as a PNG.

    Args:
        path: The file; an older one is replaced.
        images: N images.
        clusters: The cluster (N,) of each image, from 0.
        count: Number of clusters.
    """
    figure = new_figure(IMAGES * 0.5 + 1, count * 0.55, layout="constrained")
    panels: Any = figure.subplots(count, IMAGES, squeeze=False)
    generator = np.random.default_rng(0)
    for cluster, row in enumerate(panels):
        members = np.flatnonzero(clusters == cluster)
        chosen = generator.permutation(members)[:IMAGES].tolist()
        for axes in row:
            axes.set_axis_off()
        for axes, index in zip(row, chosen, strict=False):
            pixels = np.asarray(images[index][0])
            bands = pixels.ndim == 3 and pixels.shape[2] != 3
            axes.imshow(pixels[:, :, 0] if bands else pixels, cmap="gray_r")
        row[0].set_title(f"{len(members):,}", loc="left", fontsize=8)
    save(figure, path)
