"""The page holds its images, names them, and loads nothing."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from rkdo_plugin.export.vectors.page import as_html
from rkdo_plugin.export.vectors.tiles import Row, Sheet, Tile


class Reader(HTMLParser):
    """What a page shows: its texts, its images, and where its links lead."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.images, self.links = [], {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "img":
            self.images[found["alt"]] = found.pop("src")
        self.links += [found[name] for name in ("src", "href") if name in found]

    def handle_data(self, text):
        self.texts.append(text)


def test_images_and_captions(sheet, thumbnails):
    page = Reader(as_html(sheet, thumbnails).decode())
    assert page.images.keys() == thumbnails.keys()
    for key, source in page.images.items():
        kind, _, content = source.partition(",")
        assert kind == "data:image/jpeg;base64"
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        difference = image.astype(int) - np.asarray(thumbnails[key]).astype(int)
        assert image.shape == (80, 160, 3) and abs(difference).max() <= 3
    for text in ("nearest of 3", "<red> & co", "a/lime.png", "0.9000", "gone.png"):
        assert text in page.texts
    assert page.texts.count("no image") == 1


def test_it_loads_nothing_from_elsewhere(sheet, thumbnails):
    page = as_html(sheet, thumbnails).decode()
    assert Reader(page).links == []
    assert not re.search(r"https?:|url\(|@import|<script", page)


def test_names_are_escaped():
    bad = '"><script>alert(1)</script>'
    tile = Tile(bad, bad)
    page = as_html(Sheet(bad, (Row(bad, tile, ()),)), {bad: Image.new("RGB", (1, 1))})
    assert b"<script" not in page
    assert list(Reader(page.decode()).images) == [bad]


def test_it_suits_narrow_screens_and_dark_themes(sheet, thumbnails):
    page = as_html(sheet, thumbnails).decode()
    assert 'name="viewport" content="width=device-width' in page
    assert "color-scheme: light dark" in page
    # No length is wider than 360 pixels of 1/16 rem, but for a limit.
    lengths = re.findall(r"(?<!max-width: )\b([\d.]+)rem", page)
    assert max(map(float, lengths)) < 360 / 16
