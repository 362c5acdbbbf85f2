"""A contact sheet as one HTML page."""

import base64
import html
import io

from rkdo_plugin.export.vectors.tiles import Row, Sheet, Thumbnails, Tile

_STYLE = """
:root { color-scheme: light dark; --line: #ccc; --first: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --line: #555; --first: #56b4e9; } }
body { font: 16px/1.4 system-ui, sans-serif; max-width: 92rem; margin: 1rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; overflow-wrap: anywhere;
  margin: 1.5rem 0 .5rem; }
h1, figcaption { overflow-wrap: anywhere; }
div { display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
figure { margin: 0; } figcaption { font-size: .8rem; }
img, p { box-sizing: border-box; width: 100%; aspect-ratio: 1; margin: 0;
  object-fit: contain; border: 1px solid var(--line); }
p { padding: .5rem; font-size: .8rem; }
figure:first-child > :first-child { border: 3px solid var(--first); }
"""


def as_html(sheet: Sheet, thumbnails: Thumbnails) -> bytes:
    """The page, which holds its images and loads nothing from elsewhere."""
    title = html.escape(sheet.title)
    rows = "\n".join(_row(row, thumbnails) for row in sheet.rows)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style>
<h1>{title}</h1>
{rows}
</html>
""".encode()


def _row(row: Row, thumbnails: Thumbnails) -> str:
    tiles = "\n".join(_figure(tile, thumbnails) for tile in (row.first, *row.others))
    return f"<h2>{html.escape(row.title)}</h2>\n<div>\n{tiles}\n</div>"


def _figure(tile: Tile, thumbnails: Thumbnails) -> str:
    key, shown = html.escape(tile.key), "<p>no image</p>"
    if tile.key in thumbnails:
        file = io.BytesIO()
        thumbnails[tile.key].save(file, format="JPEG", quality=85)
        content = base64.b64encode(file.getvalue()).decode()
        shown = f'<img alt="{key}" src="data:image/jpeg;base64,{content}">'
    caption = html.escape(tile.caption)
    return f"<figure>{shown}<figcaption>{key}<br>{caption}</figcaption></figure>"
