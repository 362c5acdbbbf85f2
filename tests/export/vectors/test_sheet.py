"""Sheets find the images of keys, in any kind of source."""

import base64
import io
import re
import tarfile
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rkdo_plugin.export import write_sheet
from rkdo_plugin.export.vectors.sheet import WRITERS
from rkdo_plugin.export.vectors.tiles import Row, Sheet, Tile


def shown(path):
    """The mean colours of a page's images, by their keys."""
    page = path.read_text()
    found = re.findall(r'alt="(\S+)" src="data:image/jpeg;base64,(\S+)"', page)
    return {
        key: np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        .mean(axis=(0, 1))
        .round()
        .tolist()
        for key, content in found
    }


def result(*keys, channels=3):
    tiles = tuple(Tile(key, "") for key in keys[1:])
    sheet = Sheet("title", (Row("row", Tile(keys[0], ""), tiles),), channels)
    return SimpleNamespace(sheet=sheet)


def near(found, expected):
    assert found.keys() == expected.keys()
    for key, colour in expected.items():
        np.testing.assert_allclose(found[key], colour, atol=3)


def test_a_folder_and_a_file(colours, sheet, tmp_path):
    places = write_sheet(SimpleNamespace(sheet=sheet), colours, tmp_path / "sheet")
    assert places == (tmp_path / "sheet.png", tmp_path / "sheet.html")
    assert Image.open(places[0]).format == "PNG"
    red, lime, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    near(shown(places[1]), {"red.png": red, "a/lime.png": lime, "f": blue})


def test_a_list_a_table_and_a_tar_file(colours, tmp_path):
    (colours / "list.txt").write_text("red.png\n../colours/blue.png\n")
    images = [(colours / name).read_bytes() for name in ("red.png", "blue.png")]
    pq.write_table(pa.table({"image": images}), tmp_path / "table.parquet")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(colours / "blue.png", "0001.png")
    output = tmp_path / "sheet.html"
    for source, key, colour in (
        (colours / "list.txt", "../colours/blue.png", (0, 0, 255)),
        (tmp_path / "table.parquet", "0", (255, 0, 0)),
        (tmp_path / "table.parquet", "1", (0, 0, 255)),
        (tmp_path / "shard.tar", "shard.tar/0001", (0, 0, 255)),
    ):
        assert write_sheet(result(key), source, output, overwrite=True) == (output,)
        near(shown(output), {key: colour})


@pytest.mark.parametrize(("channels", "pixel"), [(1, [76] * 3), (3, [255, 0, 0])])
def test_images_as_the_encoder_sees_them(colours, tmp_path, channels, pixel):
    output = tmp_path / "sheet.html"
    write_sheet(result("red.png", channels=channels), colours, output)
    near(shown(output), {"red.png": pixel})


def test_of_many_bands_the_first(colours, tmp_path):
    bands = np.array([50, 100, 150, 200, 250], np.uint8)
    np.save(colours / "bands.npy", np.tile(bands, (30, 30, 1)))
    write_sheet(result("bands.npy", channels=5), colours, tmp_path / "sheet.html")
    near(shown(tmp_path / "sheet.html"), {"bands.npy": [50] * 3})


@pytest.mark.parametrize(
    ("size", "shown"),
    [((8, 8), (160, 160)), ((70, 20), (140, 40)), ((90, 30), (90, 30))],
)
def test_small_images_are_enlarged(colours, tmp_path, monkeypatch, size, shown):
    Image.new("RGB", size, "red").save(colours / "small.png")
    sizes = []

    def write(sheet, thumbnails):
        sizes.extend(image.size for image in thumbnails.values())
        return b"page"

    monkeypatch.setitem(WRITERS, ".html", write)
    write_sheet(result("small.png"), colours, tmp_path / "sheet.html")
    assert sizes == [shown]


def test_large_images_are_made_small(colours, tmp_path):
    Image.new("RGB", (3000, 1000)).save(colours / "large.png")
    write_sheet(result("large.png"), colours, tmp_path / "sheet.html")
    assert (tmp_path / "sheet.html").stat().st_size < 5000


def test_older_sheets_are_kept(colours, tmp_path):
    (tmp_path / "sheet.html").write_text("precious")
    with pytest.raises(FileExistsError, match=r"sheet\.html but it exists"):
        write_sheet(result("red.png"), colours, tmp_path / "sheet")
    assert not (tmp_path / "sheet.png").exists()
    assert (tmp_path / "sheet.html").read_text() == "precious"
    write_sheet(result("red.png"), colours, tmp_path / "sheet", overwrite=True)
    assert shown(tmp_path / "sheet.html")


def test_images_that_are_somewhere_else(colours, tmp_path):
    (colours / "broken.png").write_text("no image")
    for key, reason in (("gone.png", "FileNotFoundError"), ("broken.png", "OSError")):
        with pytest.raises(ValueError, match=f"of .*colours.*the last: {reason}"):
            write_sheet(result(key), colours, tmp_path / "sheet")
        assert not list(tmp_path.glob("sheet*"))
    (colours / "list.txt").write_text("red.png\n")
    with pytest.raises(ValueError, match="there is no such image"):
        write_sheet(result("gone.png"), colours / "list.txt", tmp_path / "sheet")
    with pytest.raises(FileNotFoundError, match="output folder"):
        write_sheet(result("red.png"), colours, tmp_path / "none" / "sheet")
