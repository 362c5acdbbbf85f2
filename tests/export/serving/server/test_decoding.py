"""Image files become the pixels that `rkdo embed` makes of them."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from servers import files

from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import open_picture
from rkdo_plugin.export.serving.server.decoding import decode

RGB = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def written(write, *arguments, **options):
    file = io.BytesIO()
    write(file, *arguments, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "npy"])
def test_a_file_is_read_as_embed_reads_it(tmp_path, kind):
    content = written(np.save, RGB) if kind == "npy" else files([RGB], kind)[0]
    (tmp_path / "file").write_bytes(content)
    expected = resize(open_picture(tmp_path / "file", 3), (16, 24), 3)
    np.testing.assert_array_equal(decode(content, (16, 24), 3, 1200), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "npy"])
def test_too_many_pixels_are_refused_by_the_header(kind):
    content = written(np.save, RGB) if kind == "npy" else files([RGB], kind)[0]
    with pytest.raises(ValueError, match="at most 1199 pixels but got 30 x 40"):
        decode(content, 16, 3, 1199)


def test_a_header_that_promises_more_than_there_is():
    header = written(np.save, RGB)[:128]
    huge = header.replace(b"(30, 40, 3)", b"(9**99, 1,)")
    for content in (header, huge, header.replace(b"(30, 40", b"(-3, 40")):
        with pytest.raises(ValueError):
            decode(content, 16, 3, 10**9)


def test_bands_that_the_encoder_has_not_are_refused_by_the_header():
    bands = np.zeros((4, 4, 100), np.uint8)
    content = written(
        tifffile.imwrite, bands, photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(ValueError, match="3 channels but got 100"):
        decode(content, 16, 3, 1200)


def damaged_zlib():
    """A TIFF whose deflated pixels are damaged, of a type that Pillow does not read."""
    pixels = np.arange(48, dtype=np.float64).reshape(4, 4, 3) / 48
    content = bytearray(written(tifffile.imwrite, pixels, compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        start = file.pages[0].dataoffsets[0]
    content[start + 4 : start + 12] = b"\xff" * 8
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"hello", b"\x89PNG\r\n\x1a\n", b"II*\0", b"\x93NUMPY", bytes(1000)),
        b"\x93NUMPY\x01\x00v\x00{'descr': (".ljust(128),  # a bracket without an end
        damaged_zlib(),
    ],
)
def test_bytes_that_are_no_image(content):
    with pytest.raises(ValueError):
        decode(content, 16, 3, 1200)


def test_a_cut_image():
    whole = files([RGB], "JPEG")[0]
    with pytest.raises(ValueError, match="OSError"):
        decode(whole[: len(whole) // 2], 16, 3, 1200)


def test_pixels_are_counted_before_they_are_decoded(monkeypatch):
    content = files([RGB])[0]
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="at most 10 pixels"):
        decode(content, 16, 3, 10)
