"""Images lie where their rows say."""

import io

import numpy as np
import pytest
from PIL import Image

from rkdo_plugin.export.vectors.board import COLUMNS, GAP, WIDTH, as_png
from rkdo_plugin.export.vectors.tiles import SIDE, Row, Sheet, Tile

RED, LIME, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def pixels_of(sheet, thumbnails):
    return np.asarray(Image.open(io.BytesIO(as_png(sheet, thumbnails))))


def box(pixels, colour):
    """Top, left, height and width of what has a colour, and the number of pixels."""
    rows, columns = (pixels == colour).all(axis=2).nonzero()
    top, left = rows.min(), columns.min()
    return top, left, rows.max() - top + 1, columns.max() - left + 1, len(rows)


def test_images_are_whole_and_in_their_columns(sheet, thumbnails):
    pixels = pixels_of(sheet, thumbnails)
    assert pixels.shape[1:] == (WIDTH, 3)
    top, left, height, width, count = box(pixels, LIME)
    assert (left, height, width, count) == (2 * GAP + SIDE, 80, 160, 160 * 80)
    below, first, height, width, count = box(pixels, BLUE)
    # The frame of a row's first image covers its edge.
    assert (first, height) == (GAP + 2, 80) and below > top + SIDE
    reds = (pixels == RED).all(axis=2)
    assert reds[top + 40, GAP + SIDE // 2] and reds[below + 40, 2 * GAP + SIDE + 80]


@pytest.mark.parametrize(("others", "lines"), [(0, 1), (8, 1), (9, 2), (16, 2)])
def test_long_rows_go_on_below(others, lines):
    tiles = tuple(Tile(str(number), "") for number in range(others))
    images = {str(number): Image.new("RGB", (160, 160), RED) for number in range(16)}
    pixels = pixels_of(Sheet("", (Row("", Tile("", ""), tiles),)), images)
    one = pixels_of(Sheet("", (Row("", Tile("", ""), ()),)), images)
    line = (len(pixels) - len(one)) // max(lines - 1, 1)
    assert len(pixels) == len(one) + (lines - 1) * line and (lines == 1 or line > SIDE)
    if others:
        last = (others - 1) % COLUMNS
        _, left, _, width, count = box(pixels, RED)
        assert left == 2 * GAP + SIDE and count > others * 150 * 150
        assert width == (SIDE + GAP) * min(others - 1, COLUMNS - 1) + 160
        bottom = (pixels[-SIDE:] == RED).all(axis=2).nonzero()[1]
        assert bottom.max() == left + last * (SIDE + GAP) + 159


def test_long_texts_are_cut(sheet):
    long = "folder/" * 99 + "name.png"
    rows = (Row(long, Tile(long, long), (Tile(long, long),)),)
    pixels = pixels_of(Sheet(long, rows), {})
    assert (pixels[:, -GAP:] == 255).all()
    between = pixels[100:, GAP + SIDE + 1 : 2 * GAP + SIDE - 1]
    assert (between == 255).all()
