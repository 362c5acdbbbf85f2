"""Arrays that claim more than there is, or are something else."""

import io

import numpy as np
import pytest
import tifffile

from rkdo_plugin.export.encoder.arrays import array_form, first_page, load_array
from rkdo_plugin.export.encoder.pictures import READ_ERRORS, picture_shape

SIX = np.arange(6, dtype=np.float32).reshape(2, 3)


def npy(array=SIX, shape=None):
    """A file, with another shape in its header."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    content = file.getvalue()
    if shape is not None:
        told = str(array.shape).encode()
        content = content.replace(told + b", }" + b" " * 40, shape + b", }" + b" " * 40)
    return io.BytesIO(content)


def test_an_array_is_read_as_numpy_wrote_it():
    np.testing.assert_array_equal(load_array(npy()), np.load(npy()))
    assert array_form(npy()) == ((2, 3), np.dtype("float32"))


@pytest.mark.parametrize(
    "shape", [b"(2, 4)", b"(99999999999,)", b"(2, 3, 99999999999)"]
)
def test_a_header_that_claims_more_than_the_file_holds(shape):
    with pytest.raises(ValueError, match=r"Expected \d+ bytes, .* but got \d\d$"):
        load_array(npy(shape=shape))


def test_a_header_without_an_end_is_not_read():
    content = b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little")
    with pytest.raises(ValueError, match="at most 10000 bytes but got 4294967295"):
        array_form(io.BytesIO(content))


def test_a_header_that_is_cut_in_its_length():
    """Else the magic bytes were its length: 4 GB."""
    with pytest.raises(ValueError, match="a header of at most 10000 bytes"):
        array_form(io.BytesIO(b"\x93NUMPY\x02\x00v"))


def test_python_objects_are_refused_by_the_header():
    with pytest.raises(ValueError, match="but got Python objects"):
        load_array(npy(np.array([{}])))


@pytest.mark.parametrize("end", [60, 9, 7])
def test_what_numpy_says_of_a_cut_header_is_a_known_error(end):
    content = bytearray(npy().getvalue())
    content[end:118] = b" " * (118 - end)
    with pytest.raises(READ_ERRORS):
        load_array(io.BytesIO(bytes(content)))


def tiff(tag=None, kind=None, **how):
    """A TIFF of five bands, of which the type of a tag may be another."""
    file = io.BytesIO()
    pixels = np.zeros((9, 7, 5), np.uint8)
    tifffile.imwrite(
        file, pixels, photometric="minisblack", planarconfig="contig", **how
    )
    file.seek(0)
    if tag is None:
        return file
    with tifffile.TiffFile(file) as read:
        place = read.pages[0].tags[tag].offset
    content = bytearray(file.getvalue())
    content[place + 2 : place + 4] = kind.to_bytes(2, "little")
    return io.BytesIO(bytes(content))


def test_a_size_in_letters_is_no_size():
    """Twice such a width is a longer text, and a billion times one fills the memory."""
    assert first_page(tiff()).shape == (9, 7, 5)
    with pytest.raises(OSError, match="a TIFF of the size"):
        picture_shape(tiff("ImageWidth", kind=2))


def test_a_tiff_of_too_many_pixels_is_not_decoded(monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 9 * 7 * 5 // 8)
    with pytest.raises(ValueError, match="at most 312 bytes but got 315"):
        first_page(tiff())
