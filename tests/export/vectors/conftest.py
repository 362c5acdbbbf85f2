import pytest
from PIL import Image

from rkdo_plugin.export.vectors.tiles import Row, Sheet, Tile

COLOURS = {"red.png": (255, 0, 0), "a/lime.png": (0, 255, 0), "blue.png": (0, 0, 255)}


@pytest.fixture
def colours(tmp_path):
    """A folder of three pictures of one colour each."""
    folder = tmp_path / "colours"
    (folder / "a").mkdir(parents=True)
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 20), colour).save(folder / name)
    return folder


@pytest.fixture
def sheet(tmp_path):
    """Two rows, one of which begins with a file, with an image that is not there."""
    first = Row("<red> & co", Tile("red.png", ""), (Tile("a/lime.png", "0.9000"),))
    file = tmp_path / "colours" / "blue.png"
    others = (Tile("red.png", "0.8000"), Tile("gone.png", "0.7000"))
    return Sheet("nearest of 3", (first, Row("file", Tile("f", "", file), others)))


@pytest.fixture
def thumbnails():
    """The images of the sheet's tiles but for the one that is not there."""
    places = {"red.png": "red.png", "a/lime.png": "a/lime.png", "f": "blue.png"}
    return {
        key: Image.new("RGB", (160, 80), COLOURS[name]) for key, name in places.items()
    }
