"""Files of every format, depth and mode become upright pixels of 8 bits."""

import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, features

from rkdo_plugin.export.encoder.pictures import (
    READ_ERRORS,
    as_picture,
    eight_bits,
    is_picture,
    open_picture,
    picture_shape,
)
from rkdo_plugin.export.reading.worker import decode_into

RGB = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
TURNS = {  # what a viewer does to show a picture of each orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def shape_of(path):
    with path.open("rb") as file:
        return picture_shape(file)


def opened(path, channels=3):
    return np.asarray(open_picture(path, channels))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_pictures_are_shown_upright(tmp_path, orientation, suffix, mode):
    if (suffix, mode) == (".webp", "I;16"):
        pytest.skip("WebP has no greys of 16 bits")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f"phone{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    pixels = RGB if mode == "RGB" else RGB[:, :, :1].repeat(3, axis=2)
    stored = pixels if mode == "RGB" else pixels[:, :, 0]
    if mode == "I;16":
        stored = stored.astype(np.uint16) * 257
    Image.fromarray(stored).save(path, exif=exif, **options)
    np.testing.assert_array_equal(opened(path), TURNS[orientation](pixels))


def test_a_damaged_orientation_leaves_the_picture_as_it_lies(tmp_path):
    path = tmp_path / "odd.png"
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 77
    Image.fromarray(RGB).save(path, exif=exif)
    np.testing.assert_array_equal(opened(path), RGB)
    Image.fromarray(RGB).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12")
    np.testing.assert_array_equal(opened(path), RGB)


@given(st.integers(0, 65535))
def test_16_bits_are_divided_by_257_and_rounded(value):
    (got,) = eight_bits(np.array([value], dtype=np.uint16))
    assert got == round(value / 257)


@given(st.floats(0, 1, width=32))
def test_floats_from_0_to_1_are_multiplied_by_255(value):
    (got,) = eight_bits(np.array([value], dtype=np.float32))
    assert abs(got - 255 * value) <= 0.5


@pytest.mark.parametrize(
    "pixels",
    [
        np.array([-1], np.int16),
        np.array([0, 256], np.int32),
        np.array([65535], np.uint32),
        np.array([1.01]),
        np.array([np.nan]),
        np.array([0.0, np.inf]),
        np.array([True]),
        np.array([1j]),
        np.array(["1"]),
    ],
)
def test_numbers_without_a_rule_are_refused(pixels):
    with pytest.raises(ValueError, match="Expected pixels as uint8"):
        eight_bits(pixels)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_a_deep_grey_file_is_scaled_for_grey_and_colour(tmp_path, suffix):
    deep = RGB[:, :, 0].astype(np.uint16) * 257
    path = tmp_path / f"deep{suffix}"
    if suffix == ".npy":
        np.save(path, deep)
    else:
        Image.fromarray(deep).save(path)
    np.testing.assert_array_equal(opened(path, 1), RGB[:, :, 0])
    np.testing.assert_array_equal(opened(path, 3)[:, :, 2], RGB[:, :, 0])


@pytest.mark.parametrize("mode", ["grey", "colour"])
def test_a_float_tiff_is_read(tmp_path, mode):
    whole = RGB if mode == "colour" else RGB[:, :, 0]
    path = tmp_path / "float.tif"
    tifffile.imwrite(
        path,
        (whole / 255).astype(np.float32),
        photometric="rgb" if mode == "colour" else "minisblack",
    )
    np.testing.assert_array_equal(opened(path, 3 if mode == "colour" else 1), whole)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
def test_transparent_pixels_show_white(mode):
    alpha = np.linspace(0, 255, 108).astype(np.uint8).reshape(12, 9, 1)
    image = Image.fromarray(np.concatenate([RGB, alpha], axis=2))
    if mode in ("LA", "PA"):
        image = image.convert("LA").convert(mode)
    straight = np.asarray(image.convert("RGBA")).astype(float)
    weight = straight[:, :, 3:] / 255
    expected = straight[:, :, :3] * weight + 255 * (1 - weight)
    got = np.asarray(as_picture(image.convert(mode), 3)).astype(float)
    # A colour multiplied by a small alpha has lost its last bits.
    off = abs(got - expected) * (weight if mode == "RGBa" else 1)
    assert off.max() <= (3 if mode == "RGBa" else 1)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_a_transparent_colour_shows_white(tmp_path, mode):
    grey = np.array([[0, 200], [200, 200]], np.uint8)
    path = tmp_path / "keyed.png"
    key = (0, 0, 0) if mode == "RGB" else 0
    image = Image.fromarray(grey).convert(mode) if mode != "I;16" else None
    if image is None:
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    image.save(path, transparency=key)
    np.testing.assert_array_equal(opened(path, 1), [[255, 200], [200, 200]])


def test_an_opaque_picture_stays_as_it_is():
    image = Image.fromarray(RGB)
    for mode in ("RGB", "RGBA", "RGBX"):
        np.testing.assert_array_equal(as_picture(image.convert(mode), 3), RGB)


def test_the_first_picture_of_an_animation_and_of_pages_is_read(tmp_path):
    pictures = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for suffix in (".gif", ".png", ".tif", ".webp"):
        path = tmp_path / f"several{suffix}"
        options = {"lossless": True} if suffix == ".webp" else {}
        pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
        assert opened(path)[0, 0].tolist() == [255, 0, 0]


CODECS = {".jfif": "jpg", ".jp2": "jpg_2000", ".avif": "avif", ".webp": "webp"}


@pytest.mark.parametrize("suffix", [".jfif", ".jp2", ".avif", ".webp", ".qoi", ".ppm"])
def test_formats_are_known_by_name_and_by_content(tmp_path, suffix):
    if suffix in CODECS and not features.check(CODECS[suffix]):
        pytest.skip(f"this Pillow was built without {suffix}")
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(RGB).save(path)
    whole = opened(path)
    assert whole.shape == RGB.shape and is_picture(path)
    for name in ("picture", "picture.data", "picture.TXT"):
        other = path.rename(tmp_path / name)
        assert is_picture(other)
        np.testing.assert_array_equal(opened(other), whole)
        path = other


def test_heic_is_read_where_its_extra_is_installed(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "phone.heic"
    smooth = Image.new("RGB", (64, 48), (200, 100, 50))
    heif.from_pillow(smooth).save(path)
    assert is_picture(path)
    assert abs(opened(path).astype(int) - np.asarray(smooth)).max() <= 4


def test_files_that_are_no_pictures_are_told_apart(tmp_path):
    contents = {
        "notes.txt": b"hello",
        "empty": b"",
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        "film.mpg": b"\0\0\x01\xb3" + bytes(20),
        "grid": b"GRIB" + bytes(20),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert not is_picture(tmp_path / name), name
        with pytest.raises(OSError, match="not a picture"):
            open_picture(tmp_path / name, 3)
    assert not is_picture(tmp_path / "missing")
    assert not is_picture(tmp_path)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", ["npy", "contig", "separate"])
def test_other_channels_come_from_arrays_and_tiffs(tmp_path, kind, layout):
    bands = np.concatenate([RGB, RGB[::-1, :, :2]], axis=2)
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[kind]
    values = (bands.astype(np.float64) * scale).astype(kind)
    path = tmp_path / ("bands.npy" if layout == "npy" else "bands.tif")
    if layout == "npy":
        np.save(path, values)
    else:
        planes = values if layout == "contig" else np.moveaxis(values, 2, 0)
        tifffile.imwrite(path, planes, photometric="minisblack", planarconfig=layout)
    assert shape_of(path) == bands.shape and is_picture(path)
    np.testing.assert_array_equal(open_picture(path, 5), bands)
    with pytest.raises(ValueError, match=r"pixels \(H, W, 4\) but got \(12, 9, 5\)"):
        open_picture(path, 4)


def test_channels_that_come_first_are_pointed_out(tmp_path):
    np.save(tmp_path / "first.npy", np.zeros((5, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="channels come last"):
        open_picture(tmp_path / "first.npy", 5)


def test_a_photograph_for_an_encoder_of_five_channels_is_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "photo.png")
    assert shape_of(tmp_path / "photo.png") == (12, 9, 3)
    with pytest.raises(ValueError, match=r"\.npy file or a TIFF of 5 channels"):
        open_picture(tmp_path / "photo.png", 5)


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.uint32])
def test_plain_integers_up_to_255_are_read_as_they_are(tmp_path, kind):
    np.save(tmp_path / "plain.npy", RGB.astype(kind))
    np.testing.assert_array_equal(opened(tmp_path / "plain.npy"), RGB)


@pytest.mark.parametrize("channels", [3, 5])
def test_a_tiff_without_a_picture_is_an_error(tmp_path, channels):
    (tmp_path / "header.tif").write_bytes(b"II*\0" + bytes(4))
    for read in (shape_of, lambda path: open_picture(path, channels)):
        with pytest.raises(OSError, match="TIFF without a picture"):
            read(tmp_path / "header.tif")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_in_lab_is_read_in_grey_and_colour(tmp_path, channels):
    Image.new("LAB", (4, 4), (128, 128, 128)).save(tmp_path / "lab.tif")
    assert abs(opened(tmp_path / "lab.tif", channels).astype(int) - 119).max() <= 2


def test_pickled_arrays_are_not_opened(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="but got Python objects"):
        open_picture(tmp_path / "objects.npy", 3)


@pytest.mark.parametrize(
    ("suffix", "sides"), [(".bmp", (18, "<ii")), (".gif", (6, "<HH"))]
)
def test_a_header_that_claims_too_many_pixels(tmp_path, suffix, sides):
    path = tmp_path / f"claims{suffix}"
    Image.fromarray(RGB).save(path)
    content = bytearray(path.read_bytes())
    place, layout = sides
    struct.pack_into(layout, content, place, 40_000, 40_000)
    path.write_bytes(content)
    for read in (lambda: open_picture(path, 3), lambda: shape_of(path)):
        with pytest.raises(READ_ERRORS, match="1600000000 pixels"):
            read()
    pixels = np.empty((1, 4, 4, 3), np.uint8)
    (reason,) = decode_into(pixels, [path], 4, 3)
    assert reason is not None and "1600000000 pixels" in reason


@settings(max_examples=60)
@given(st.data())
def test_a_damaged_file_is_an_error_or_a_picture(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    whole = {}
    for suffix in (".png", ".jpg", ".gif", ".tif", ".webp", ".bmp"):
        Image.fromarray(RGB).save(folder / f"whole{suffix}")
        whole[suffix] = (folder / f"whole{suffix}").read_bytes()
    content = bytearray(whole[data.draw(st.sampled_from(sorted(whole)))])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path = folder / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        picture = open_picture(path, 3)
    except READ_ERRORS:
        return
    assert np.asarray(picture).dtype == np.uint8
