"""Descriptors without training: histograms of oriented gradients, and of colour."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

CELL = 4  # pixels of a cell, which has a histogram of directions
DIRECTIONS = 18  # bins of 20 degrees; opposite ones make 9 orientations
LAYOUT = 4  # x 4 parts of an image, each with its mean colour
WEIGHT = 0.18  # of the colours, root mean square; the gradients have length 1
ROUNDING = 1e-6  # a deviation of intensities from 0 to 1 that counts as none
CHUNK = 256  # images whose fine histograms are in memory at a time

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
Array = NDArray[np.float64]


def fit_hog(train: Images) -> tuple[Features, Callable[[Images], Features]]:
    r"""Features of the training images, and a function that describes other images.

        [g(x), 0.18 c(x) / (\sigma \sqrt{16 C})]

    g are the `gradients`, c the `colours`, and \sigma the standard deviation of each
    component of c over the training images. Grey images have gradients alone.

    Args:
        train: (N, H, W, C), 4 pixels high and wide at least.

    Returns:
        Features (N, F), not centred, and a function from (M, H, W, C) to (M, F).

    Raises:
        ValueError: The images are smaller than a cell.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
        >>> features, describe = fit_hog(images)
        >>> features.shape, np.allclose(describe(images[:2]), features[:2])
        ((5, 1776), True)
    """
    if min(train.shape[1:3]) < CELL:
        raise ValueError(
            f"Expected images of at least {CELL} pixels for hog but got "
            f"{min(train.shape[1:3])}"
        )
    if train.shape[3] == 1:
        return gradients(train), gradients
    layout = colours(train)
    deviation = layout.std(axis=0)
    # What does not vary in training stays as it is.
    scale = np.where(deviation > ROUNDING, deviation, 1) * np.sqrt(layout.shape[1])

    def describe(images: Images) -> Features:
        weighted = (WEIGHT * colours(images) / scale).astype(np.float32)
        return np.concatenate([gradients(images), weighted], axis=1)

    return describe(train), describe


def gradients(images: Images) -> Features:
    r"""Square roots of the histograms of the gradients' directions in every cell.

        g = [\sqrt{h / |h|_1}, \sqrt{u / |u|_1}] / \sqrt{2}

    h are the histograms over 18 directions, u those over 9 orientations, in which
    opposite directions are one. Gradients are those of the square root of the mean of
    the channels, so that a factor of the brightness changes nothing. Each gradient is
    shared out between neighbouring cells and between neighbouring bins. The whole image
    is one block: local contrast tells clothes apart.

    Args:
        images: (N, H, W, C), 4 pixels high and wide at least.

    Returns:
        (N, H // 4 * (W // 4) * 27), rows of length 1; 0 for an image of one level.

    Source: Dalal and Triggs, "Histograms of oriented gradients for human detection",
    CVPR 2005. Directions beside orientations: Felzenszwalb et al., "Object detection
    with discriminatively trained part-based models", PAMI 2010.
    """
    rows = []
    for start in range(0, len(images), CHUNK):
        levels = np.sqrt(images[start : start + CHUNK].mean(axis=3))
        directions = _shared_out(fine_histograms(levels))
        half = DIRECTIONS // 2
        orientations = directions[..., :half] + directions[..., half:]
        parts = [_square_roots(directions), _square_roots(orientations)]
        joined = np.concatenate(parts, axis=1) / np.sqrt(2)
        rows.append(joined.astype(np.float32))
    return np.concatenate(rows)


def fine_histograms(levels: Array) -> Array:
    """Sums of the gradients' lengths by place and direction, at half of all sizes.

    Gradients are central differences, 0 at the image's edge.

    Args:
        levels: (N, H, W).

    Returns:
        (N, 2 (H // 4), 2 (W // 4), 36): places of 2 x 2 pixels, bins of 10 degrees from
        the direction of the columns to that of the rows.
    """
    down, right = np.zeros_like(levels), np.zeros_like(levels)
    down[:, 1:-1] = levels[:, 2:] - levels[:, :-2]
    right[:, :, 1:-1] = levels[:, :, 2:] - levels[:, :, :-2]
    count, height, width = len(levels), *(s // CELL * CELL for s in levels.shape[1:])
    down, right = down[:, :height, :width], right[:, :height, :width]
    angle = np.rad2deg(np.arctan2(down, right))
    opposite = (angle < 0) | (angle >= 180)
    bins = 2 * DIRECTIONS
    # The remainder of a small negative angle rounds to 180.
    turned = np.minimum(angle % 180 // (360 / bins), bins // 2 - 1).astype(np.int64)
    turned += bins // 2 * opposite
    half = CELL // 2
    shape = (count, height // half, width // half, bins)
    image, row, column = np.ogrid[:count, :height, :width]
    place = np.ravel_multi_index((image, row // half, column // half, turned), shape)
    sums = np.bincount(
        place.ravel(), np.hypot(down, right).ravel(), minlength=int(np.prod(shape))
    )
    return sums.reshape(shape)


def colours(images: Images) -> Array:
    """Mean intensity and contrasts between channels in 4 x 4 parts of an image.

        (mean(c), c_1 - c_2, (c_1 + c_2) / 2 - c_3, ...)

    For RGB these are intensity, red against green, and yellow against blue.

    Args:
        images: (N, H, W, C), 4 pixels high and wide at least.

    Returns:
        (N, 16 C), of intensities from 0 to 1.
    """
    height, width, channels = images.shape[1:]
    rows, columns = (np.arange(LAYOUT + 1) * s // LAYOUT for s in (height, width))
    area = np.outer(np.diff(rows), np.diff(columns))[:, :, None]
    sums = np.add.reduceat(images, rows[:-1], axis=1, dtype=np.float64)
    means = np.add.reduceat(sums, columns[:-1], axis=2) / (255 * area)
    before = means.cumsum(axis=3)[..., :-1] / np.arange(1, channels)
    parts = [means.mean(axis=3, keepdims=True), before - means[..., 1:]]
    return np.concatenate(parts, axis=3).reshape(len(images), -1)


def _shared_out(fine: Array) -> Array:
    """Histograms of half as many rows, columns and directions.

    Linear interpolation: 3/4 of a fine bin goes to the bin that it lies in, and 1/4 to
    the one next to it.
    """
    for bins, circular in zip(fine.shape[1:], (False, False, True), strict=True):
        share = np.zeros((bins // 2, bins))
        for offset, part in enumerate((1 / 4, 3 / 4, 3 / 4, 1 / 4), start=-1):
            for target in range(bins // 2):
                source = 2 * target + offset
                if circular or 0 <= source < bins:
                    share[target, source % bins] = part
        # The axis that is summed over comes back as the last one.
        fine = np.tensordot(fine, share, axes=(1, 1))
    return fine


def _square_roots(histograms: Array) -> Array:
    """Square roots (N, F) of the shares in an image's sum."""
    flat = histograms.reshape(len(histograms), -1)
    total = flat.sum(axis=1, keepdims=True)
    return np.sqrt(flat / np.where(total > 0, total, 1))
