"""The colours of classes, and pictures that replace older ones whole."""

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from rkdo_plugin.recipes.pictures.palette import (
    NO_CLASS,
    class_color,
    new_figure,
    save,
)


def test_ten_classes_have_ten_colours_and_the_eleventh_begins_again():
    colours = [to_rgb(class_color(label)) for label in range(20)]
    assert len(set(colours[:10])) == 10
    assert colours[10:] == colours[:10]
    assert class_color(-1) == NO_CLASS


def test_a_picture_has_its_size_and_replaces_an_older_one(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("older")
    save(new_figure(3, 2), path, dpi=50)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (150, 100))
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_that_fails_leaves_the_older_one(tmp_path):
    class FullDisk(Figure):
        def savefig(self, file, **options):
            file.write(b"half")
            raise OSError("no space left")

    path = tmp_path / "picture.png"
    path.write_text("older")
    with pytest.raises(OSError, match="no space left"):
        save(FullDisk(), path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
