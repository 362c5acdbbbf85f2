"""What fuzz.py attacks: readers of pictures and of their sources."""

import contextlib
import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # it would ask the network

import numpy as np
from fuzz_content import (
    PIXELS,
    SIZE,
    Evil,
    Target,
    as_array,
    as_parquet,
    as_picture,
    at,
    table_of,
    target,
)
from PIL import Image

from rkdo_plugin.export import open_source
from rkdo_plugin.export.reading.item import Part
from rkdo_plugin.export.reading.worker import decode_into
from rkdo_plugin.export.serving.server.decoding import decode
from rkdo_plugin.recipes.data.folder import load_folder
from rkdo_plugin.recipes.data.named import _read_idx


def all_pictures() -> list[bytes]:
    """A picture in each format, and arrays."""
    modes = [
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "I;16"),
        ("GIF", "P"),
        ("TIFF", "F"),
    ]
    kinds = [
        "PNG",
        "JPEG",
        "BMP",
        "WEBP",
        "PPM",
        "TGA",
        "ICO",
        "JPEG2000",
        "AVIF",
        "TIFF",
        "DDS",
        "SGI",
        "PCX",
        "DIB",
    ]
    pictures = [as_picture(kind) for kind in kinds]
    pictures += [as_picture(kind, "L") for kind in ("PNG", "JPEG")]
    for kind, mode in modes:
        pictures.append(as_picture(kind, "L" if ";" in mode else mode))
    for compression in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        pictures.append(as_picture("TIFF", compression=compression))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    pictures.append(as_picture("JPEG", exif=rotated))
    pixels = np.arange(9 * 7 * 3, dtype=np.uint8).reshape(9, 7, 3)
    pictures += [as_array(pixels), as_array(pixels / 255), as_array(np.array([Evil()]))]
    return pictures


def bands() -> list[bytes]:
    """Pixels of five channels."""
    import tifffile

    pixels = np.arange(9 * 7 * 5, dtype=np.uint8).reshape(9, 7, 5)
    found = [as_array(pixels), as_array(pixels.astype(np.uint16))]
    for how in (
        {},
        {"compression": "zlib"},
        {"planarconfig": "separate"},
        {"tile": (16, 16)},
    ):
        file = io.BytesIO()
        planes = np.moveaxis(pixels, 2, 0) if "planarconfig" in how else pixels
        tifffile.imwrite(
            file, planes, photometric="minisblack", **{"planarconfig": "contig", **how}
        )
        found.append(file.getvalue())
    return found


def decoded(channels: int) -> Callable[[bytes], object]:
    """Read a picture as the server and as `rkdo embed` do."""

    def read(content: bytes) -> None:
        pixels = np.zeros((1, SIZE, SIZE, channels), np.uint8)
        (reason,) = decode_into(pixels, [content], SIZE, channels)
        assert reason is None or "MemoryError" not in reason, reason
        try:
            served = decode(content, SIZE, channels, PIXELS)
            assert reason is not None or np.array_equal(served, pixels[0])
        except ValueError as error:
            raise ValueError(f"Expected a picture: {error}") from error

    return read


@target
def picture(folder: Path) -> Target:
    """Pictures of all formats."""
    return Target(all_pictures(), decoded(3))


@target
def channels(folder: Path) -> Target:
    """Arrays and TIFFs of five channels."""
    return Target(bands(), decoded(5))


@target
def images(folder: Path) -> Target:
    """A picture in a folder to train on."""
    (folder / "in").mkdir()

    def read(path: Path) -> None:
        data = load_folder(path.parent)
        for number in range(len(data.train)):
            data.train[number]

    return Target(
        all_pictures() + bands(),
        at(folder / "in" / "x", read),
        (OSError, ValueError),
        lavish=True,
    )


@target
def idx(folder: Path) -> Target:
    """Fashion-MNIST's own format."""
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (3, 4, 4))
    seeds = [gzip.compress(head + bytes(48)), gzip.compress(bytes(3))]
    plain = at(folder / "plain", _read_idx)
    packed = at(folder / "packed.gz", lambda path: _read_idx(path.with_suffix("")))

    def read(content: bytes) -> None:
        with contextlib.suppress(ValueError):
            plain(content)
        packed(content)

    return Target([*seeds, head + bytes(48)], read)


def items(path: Path, **how: Any) -> None:
    """Read and decode all of a source."""
    source = open_source(path, **how)
    every = list(source)
    for place in (item.place for item in every):
        if isinstance(place, Part):
            whole = Path(place.file).stat().st_size
            assert 0 <= place.size <= whole - place.offset, f"{place} of {whole} bytes"
    assert source.count() >= len(every) or source.unlisted
    pixels = np.zeros((len(every), SIZE, SIZE, 3), np.uint8)
    reasons = decode_into(pixels, [item.place for item in every], SIZE, 3)
    assert not any("MemoryError" in (reason or "") for reason in reasons), str(reasons)


@target
def tar(folder: Path) -> Target:
    """Pictures in a tar file."""
    seeds = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as made:
            for name, content in (
                ("a.png", as_picture("PNG")),
                ("a.cls", b"7"),
                ("b/" * 60 + "é.png", b"x"),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                made.addfile(member, io.BytesIO(content))
        seeds.append(file.getvalue()[:6144])
        binary_size = b"\x80" + bytes(3) + len(as_picture("PNG")).to_bytes(8, "big")
        seeds.append(seeds[-1][:124] + binary_size + seeds[-1][136:])

    def whole(content: bytes) -> bytes:
        """Let the checksums of the headers hold, so that their fields are read."""
        blocks = bytearray(content)
        for start in range(0, len(blocks) - 511, 512):
            if blocks[start + 257 : start + 262] == b"ustar":
                blocks[start + 148 : start + 156] = b" " * 8
                total = sum(blocks[start : start + 512])
                blocks[start + 148 : start + 156] = b"%06o\0 " % (total % 8**6)
        return bytes(blocks)

    read = at(folder / "x.tar", lambda path: items(path, keep=["cls"]))
    return Target(seeds, lambda content: read(whole(content)), (ValueError, OSError))


@target
def table(folder: Path) -> Target:
    """Pictures in a table, or their paths."""
    picture = as_picture("PNG")
    trees = [
        table_of(path=["a", "b"], image=[picture, picture], label=[1, 2]),
        table_of(
            image=[{"bytes": picture, "path": "a"}, {"bytes": b"", "path": "b"}],
            label=[1, 2],
        ),
        table_of(path=["a.png", "b.png"], label=[None, 2]),
    ]

    def read(path: Path) -> None:
        items(path, keep=["label"])

    return Target(
        [as_parquet(tree) for tree in trees],
        at(folder / "x.parquet", read),
        (ValueError, OSError),
        trees,
        as_parquet,
    )


@target
def paths(folder: Path) -> Target:
    """A list of paths."""
    (folder / "a.png").write_bytes(as_picture("PNG"))
    os.mkfifo(folder / "pipe")  # reading it would wait forever
    seeds = [b"a.png\nb/c.png\r\n\n\xff.png\n/dev/zero\npipe\n", "é.png\n".encode()]
    return Target(seeds, at(folder / "x.txt", items), (ValueError, OSError))
