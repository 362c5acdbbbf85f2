"""What is said of features without labels: figures, and how to read each."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rkdo_plugin.export.encoder.images import MAX_BATCH
from rkdo_plugin.recipes.data.draw import draw
from rkdo_plugin.recipes.data.images import ImageData, LabelledImages, as_arrays
from rkdo_plugin.recipes.evaluation.accuracy import Embed, Features
from rkdo_plugin.recipes.evaluation.measures import (
    RANKS,
    alignment,
    alpha_req,
    even_uniformity,
    rank_me,
    uniformity,
)

IMAGES = 10_000  # whose features are measured, at most
PAIRS = 1000  # images of which two views are compared, at most

Views = Callable[[ImageData], nn.Module]


@dataclass(frozen=True)
class LabelFree:
    """Measures of features that need no labels; `str` explains each.

    Attributes:
        images: N, the number of images.
        dim: D.
        rank_me: `rank_me` of their features (N, D).
        alpha: `alpha_req` of the same.
        uniformity: `uniformity` of the same.
        alignment: That of two views of an image; None where there are no views.
        unaligned: That of views of different images; None likewise.
        pairs: Number of images with two views; where there are none, 0.
        no_views: Why there are none.
    """

    images: int
    dim: int
    rank_me: float
    alpha: float
    uniformity: float
    alignment: float | None = None
    unaligned: float | None = None
    pairs: int = 0
    no_views: str = ""

    def __str__(self) -> str:
        first, last = RANKS[0], min(RANKS[1], self.images, self.dim)
        aligned = f"not measured: {self.no_views}"
        if self.alignment is not None:
            aligned = (
                f"{self.alignment:8.4f}  between two views of an image, of "
                f"{self.pairs:,}; between images {self.unaligned:.4f}"
            )
        return "\n".join(
            [
                f"without labels: {self.images:,} training images, {self.dim} features",
                f"  RankMe      {self.rank_me:8.2f}  dimensions in use, of "
                f"{min(self.images, self.dim)}; few mean a collapse, many prove "
                "nothing",
                f"  alpha-ReQ   {self.alpha:8.4f}  decay of variances {first} to {last}"
                "; 0: all alike; near 1: best, by its authors",
                f"  uniformity  {self.uniformity:8.4f}  from 0, all images alike, to "
                f"{even_uniformity(self.dim):.4f}, as even as noise",
                f"  alignment   {aligned}",
                "  only compare encoders of the same images and number of features; "
                "accuracy needs labels",
            ]
        )


def measure_label_free(
    features: Features,
    embed: Embed,
    data: ImageData,
    views: Views | None,
    seed: int = 0,
) -> LabelFree:
    """Measure features of training images without their labels.

    Args:
        features: Features (N, D) of the training images, or of some of them.
        embed: From images (N, H, W, C) uint8 to features (N, D).
        data: The images, of which views are made.
        views: A recipe's views, of which the first two are compared; None for none.
        seed: Seed of the images that are drawn, and of their views.

    Raises:
        ValueError: There are fewer than two images.
    """
    order = np.random.default_rng(seed).permutation(len(features))[:IMAGES]
    features = features[np.sort(order)]
    found = LabelFree(
        images=len(features),
        dim=features.shape[1],
        rank_me=rank_me(features),
        alpha=alpha_req(features),
        uniformity=uniformity(features),
    )
    if views is None:
        return replace(found, no_views="the file has no views; a run folder has")
    images = draw(data.train, PAIRS, seed)
    try:
        shown = two_views(images, data, views, seed)
    except ValueError as error:
        return replace(found, no_views=str(error))
    first, second = map(embed, shown)
    return replace(
        found,
        pairs=len(first),
        alignment=alignment(first, second),
        unaligned=alignment(first, np.roll(second, 1, axis=0)),
    )


def two_views(
    images: LabelledImages, data: ImageData, views: Views, seed: int
) -> list[NDArray[np.uint8]]:
    """The first two views of images, as images (N, H, W, C) again.

    Args:
        images: Those of `data`, or a part of them.
        data: Says the size.
        views: A recipe's views.
        seed: Seed of the views.

    Raises:
        ValueError: The recipe has no views of whole batches.
    """
    ones = (1.0,) * data.channels
    plain = replace(data, mean=(0.0,) * data.channels, std=ones)  # embedding normalises
    pixels, _ = as_arrays(images, data.image_size)
    found: tuple[list[NDArray[np.uint8]], ...] = ([], [])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        augment = views(plain)
        for start in range(0, len(pixels), MAX_BATCH):
            batch = torch.from_numpy(pixels[start : start + MAX_BATCH])
            for side, view in zip(
                found, augment([batch.permute(0, 3, 1, 2)])[:2], strict=True
            ):
                whole = (view.clamp(0, 1) * 255).round().byte()
                side.append(whole.permute(0, 2, 3, 1).numpy())
    return [np.concatenate(side) for side in found]
