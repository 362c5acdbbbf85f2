"""A contact sheet as a PNG."""

import io

from PIL import Image, ImageDraw, ImageFont

from rkdo_plugin.export.vectors.tiles import SIDE, Row, Sheet, Thumbnails, Tile

COLUMNS = 8  # images beside the first of a row; further ones begin a new line
GAP, TEXT = 12, 20  # pixels between images, and of a line of text
LINE = SIDE + 2 * TEXT + GAP  # of images with their captions
WIDTH = GAP + (1 + COLUMNS) * (SIDE + GAP)
INK, FRAME, FIRST = "#222222", "#cccccc", "#0072b2"


def as_png(sheet: Sheet, thumbnails: Thumbnails) -> bytes:
    """The picture, on white."""
    height = GAP + 2 * TEXT + sum(_height(row) for row in sheet.rows)
    board = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(board)
    _write(draw, GAP, GAP, sheet.title, 17, WIDTH - 2 * GAP)
    top = GAP + 2 * TEXT
    for row in sheet.rows:
        _write(draw, GAP, top, row.title, 14, WIDTH - 2 * GAP)
        _paste(draw, board, GAP, top + TEXT, row.first, thumbnails, first=True)
        for number, tile in enumerate(row.others):
            line, column = divmod(number, COLUMNS)
            left = GAP + (1 + column) * (SIDE + GAP)
            _paste(draw, board, left, top + TEXT + line * LINE, tile, thumbnails)
        top += _height(row)
    file = io.BytesIO()
    board.save(file, format="PNG")
    return file.getvalue()


def _height(row: Row) -> int:
    lines = max(1, -(-len(row.others) // COLUMNS))
    return TEXT + lines * LINE + GAP


def _paste(
    draw: ImageDraw.ImageDraw,
    board: Image.Image,
    left: int,
    top: int,
    tile: Tile,
    thumbnails: Thumbnails,
    first: bool = False,
) -> None:
    image = thumbnails.get(tile.key)
    if image is None:
        _write(draw, left + GAP, top + SIDE // 2, "no image", 12, SIDE)
    else:
        width, height = image.size
        board.paste(image, (left + (SIDE - width) // 2, top + (SIDE - height) // 2))
    color, stroke = (FIRST, 3) if first else (FRAME, 1)
    frame = (left - 1, top - 1, left + SIDE, top + SIDE)
    draw.rectangle(frame, outline=color, width=stroke)
    _write(draw, left, top + SIDE + 4, tile.key, 12, SIDE)
    _write(draw, left, top + SIDE + TEXT, tile.caption, 12, SIDE)


def _write(
    draw: ImageDraw.ImageDraw, left: int, top: int, text: str, size: int, width: int
) -> None:
    """Write text, without its start where it would be too wide."""
    font = ImageFont.load_default(size)
    shown = text
    while draw.textlength(shown, font) > width:
        shown = "…" + shown[2 + len(shown) // 20 :]
    draw.text((left, top), shown, fill=INK, font=font)
