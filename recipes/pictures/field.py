"""A picture of a field: samples beside their heaviest neighbours."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.field import ResponseField
from rkdo_plugin.field.rows import UNFILLED
from rkdo_plugin.recipes.data.images import LabelledImages, fitted
from rkdo_plugin.recipes.pictures.palette import INK, new_figure, save

COLUMNS = 8  # neighbours of a sample that are shown
TAIL = 0.02  # fraction of the rows that counts as the surest, and as the least sure
GROUPS = (f"surest\n{TAIL:.0%}", "typical", f"least\nsure\n{TAIL:.0%}")
IMAGE_SIZE = 96  # pixels: larger images are reduced to this size

# Colours for any kind of colour vision; the frames' dashes say the same.
SAME = ("#0072b2", "solid")
OTHER = ("#d55e00", "dashed")
PLAIN = ("#888888", "solid")

# Lengths in units of a tile's distance to the next.
LEFT, TILE, ROW, HEADER, MARGIN = 1.5, 0.86, 1.25, 1.85, 0.12
FIRST = LEFT + 1.3  # where the neighbours begin


def choose_samples(field: ResponseField, count: int) -> list[Tensor]:
    """Samples to look at: of the surest rows, of typical ones, and of the least sure.

    Args:
        field: The field. Rows without neighbours are left out, if there are others.
        count: Number of samples, at least 3.

    Returns:
        Three tensors of samples, each evenly spread over its part of the rows in the
        order of their entropy; the same field gives the same samples.

    Raises:
        ValueError: `count` is below 3 or above the number of such rows.
    """
    rows = (field.ids[:, 0] != UNFILLED).nonzero()[:, 0]
    if len(rows) == 0:
        rows = torch.arange(field.num_samples)
    if not 3 <= count <= len(rows):
        raise ValueError(
            f"Expected `samples` to be from 3 to {len(rows)}, the number of rows, but "
            f"got {count}"
        )
    order = rows[field.row_entropy()[rows].argsort(stable=True)]
    chosen = []
    for group in range(3):
        size = count // 3 + (count % 3 > group)
        span = max(size, round(TAIL * len(order)))
        first = group * (len(order) - span) // 2
        places = torch.linspace(first, first + span - 1, size).round().long()
        chosen.append(order[places])
    return chosen


def draw_field(
    path: Path,
    field: ResponseField,
    images: LabelledImages,
    image_size: ImageSize,
    labels: Tensor | None,
    title: str,
    samples: int = 12,
) -> None:
    """Write the picture as a PNG, to be shown 900 pixels wide.

    Args:
        path: The file; an older one is replaced.
        field: The field of N samples.
        images: The N images.
        image_size: Their height and width in pixels.
        labels: Their classes (N,); None without classes.
        title: A headline, and lines below it.
        samples: Rows of the picture.

    Raises:
        ValueError: There are fewer rows than `samples`, or it is below 3.
    """
    groups = choose_samples(field, samples)
    columns = min(COLUMNS, field.neighbors)
    # No narrower than its header.
    width = FIRST + max(columns, COLUMNS) - (1 - TILE) + MARGIN
    height = HEADER + ROW * samples + 2 * MARGIN
    figure = new_figure(9, 9 * height / width)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _draw_header(axes, title, labels is not None)
    top = HEADER
    for name, group in zip(GROUPS, groups, strict=True):
        axes.text(MARGIN, top, name, va="top", fontsize=10, weight="bold", color=INK)
        for row, sample in enumerate(group):
            _draw_row(axes, top + ROW * row, field, images, image_size, labels, sample)
        top += ROW * len(group) + MARGIN
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    save(figure, path, dpi=200)


def _draw_header(axes: Axes, title: str, labelled: bool) -> None:
    headline, *lines = title.splitlines()
    style: dict[str, Any] = {"color": INK, "parse_math": False}
    axes.text(MARGIN, 0.4, headline, fontsize=14, weight="bold", **style)
    for number, text in enumerate(lines):
        axes.text(MARGIN, 0.75 + 0.28 * number, text, fontsize=9.5, **style)
    y = HEADER - 0.17
    axes.text(LEFT - 0.15, y, "spread", fontsize=10, ha="right", color=INK)
    axes.text(LEFT, y, "image i", fontsize=10, weight="bold", color=INK)
    heading = "its heaviest neighbours j"
    axes.text(FIRST, y, heading, fontsize=10, weight="bold", color=INK)
    if labelled:
        for x, (color, line), text in (
            (FIRST + 4, SAME, "same class"),
            (FIRST + 6, OTHER, "another class"),
        ):
            _draw_frame(axes, x, y - 0.17, 0.2, color, line)
            axes.text(x + 0.3, y, text, fontsize=10, color=color)


def _draw_row(
    axes: Axes,
    y: float,
    field: ResponseField,
    images: LabelledImages,
    image_size: ImageSize,
    labels: Tensor | None,
    sample: Tensor,
) -> None:
    """A sample with its self mass, then its neighbours with their weights."""
    ids, weights, self_mass = (part[0] for part in field.target(sample[None]))
    entropy = float(torch.special.entr(torch.cat([weights, self_mass[None]])).sum())
    middle = y + TILE / 2
    axes.text(
        LEFT - 0.15,
        middle,
        f"{np.exp(entropy):.1f}",
        ha="right",
        va="center",
        color=INK,
    )
    tiles = [(LEFT, sample, self_mass, PLAIN)]
    for column in range(min(COLUMNS, int((ids != UNFILLED).sum()))):
        other, style = ids[column], PLAIN
        if labels is not None:
            style = SAME if labels[other] == labels[sample] else OTHER
        tiles.append((FIRST + column, other, weights[column], style))
    for x, shown, weight, (color, line) in tiles:
        pixels = fitted(images[int(shown)][0], min(*sides(image_size), IMAGE_SIZE))
        gray_or_color = pixels if pixels.shape[-1] == 3 else pixels.mean(axis=2)
        axes.imshow(
            gray_or_color,
            extent=(x, x + TILE, y + TILE, y),
            cmap="gray",
            vmin=0,
            vmax=255,
            aspect="auto",
        )
        _draw_frame(axes, x, y, TILE, color, line)
        bar = (x, y + TILE + 0.05), TILE * float(weight), 0.08
        axes.add_patch(Rectangle(*bar, color=color, linewidth=0))
        axes.text(
            x + TILE,
            y + TILE + 0.28,
            f"{weight:.2f}",
            ha="right",
            fontsize=9,
            color=INK,
        )


def _draw_frame(
    axes: Axes, x: float, y: float, side: float, color: str, line: str
) -> None:
    axes.add_patch(
        Rectangle(
            (x, y),
            side,
            side,
            fill=False,
            edgecolor=color,
            linewidth=2.5,
            linestyle=line,
        )
    )
