"""Ways to decode JPEGs: how fast, and how far they move pixels and embeddings.

    python benchmarks/decoders.py MODEL.onnx FOLDER [--enlarge 1] [--files 250]

simplejpeg and PyTurboJPEG (with libturbojpeg) are left out if they are not installed.
All ways decode and resize the same files in turn, on one core; the table has the
smallest processor time of each. `--enlarge 8` first makes photographs of eight times
the width, as cameras do, which are smooth.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image

from rkdo_plugin.export import EmbeddingSession
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import as_picture, read_picture

REPETITIONS = 3
Way = Callable[[bytes], Image.Image]


def pillow(content: bytes) -> Image.Image:
    """As `rkdo embed` does."""
    picture = read_picture(io.BytesIO(content), 3)
    assert isinstance(picture, Image.Image)
    return picture


def draft(size: int) -> Way:
    """Let libjpeg decode at 1/2, 1/4 or 1/8, no smaller than `size`."""

    def decode(content: bytes) -> Image.Image:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (size, size))
            return as_picture(image, 3)

    return decode


def decode_with_torchvision(content: bytes) -> Image.Image:
    """libjpeg, without Pillow."""
    data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    mode = torchvision.io.ImageReadMode.RGB
    pixels = torchvision.io.decode_jpeg(data, mode)
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def ways(size: int) -> dict[str, Way]:
    """By name, Pillow first."""
    found: dict[str, Way] = {
        "Pillow": pillow,
        "Pillow, draft to twice the size": draft(2 * size),
        "Pillow, draft to four times the size": draft(4 * size),
        "torchvision": decode_with_torchvision,
    }
    try:
        import simplejpeg

        found["simplejpeg"] = lambda content: Image.fromarray(
            simplejpeg.decode_jpeg(content, "RGB")
        )
        found["simplejpeg, scaled to the size"] = lambda content: Image.fromarray(
            simplejpeg.decode_jpeg(content, "RGB", min_height=size, min_width=size)
        )
    except ImportError:
        pass
    try:
        import turbojpeg

        turbo = turbojpeg.TurboJPEG()
        found["PyTurboJPEG"] = lambda content: Image.fromarray(
            turbo.decode(content, pixel_format=turbojpeg.TJPF_RGB)
        )
    except (ImportError, RuntimeError):
        pass
    return found


def enlarged(content: bytes, factor: int) -> bytes:
    """The photograph of so many times the width."""
    if factor == 1:
        return content
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        large = image.resize(
            (factor * width, factor * height), Image.Resampling.BICUBIC
        )
    file = io.BytesIO()
    large.save(file, "jpeg", quality=90)
    return file.getvalue()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--enlarge", type=int, default=1)
    parser.add_argument("--files", type=int, default=250)
    options = parser.parse_args()
    torch.set_num_threads(1)
    session = EmbeddingSession(options.model, "cpu", threads=1)
    image_size = session.image_size
    paths = sorted(options.folder.rglob("*.jpg"))[: options.files]
    contents = [
        content
        for content in (enlarged(path.read_bytes(), options.enlarge) for path in paths)
        if Image.open(io.BytesIO(content)).mode == "RGB"
    ]

    def pixels(way: Way) -> NDArray[np.uint8]:
        return np.stack([resize(way(content), image_size, 3) for content in contents])

    every = ways(max(sides(image_size)))
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(REPETITIONS):
        for name, way in every.items():
            started = time.process_time()
            pixels(way)
            seconds[name].append(time.process_time() - started)
    reference = pixels(pillow)
    embeddings = session.embed(reference)
    print(f"{len(contents)} files, {options.model.name}, {image_size} pixels")
    print(
        "| decoder | ms an image | mean difference, grey levels | largest 1 - cosine |"
    )
    print("|---|---|---|---|")
    for name, way in every.items():
        found = pixels(way)
        apart = np.abs(found.astype(int) - reference).mean()
        cosines = cosine(session.embed(found), embeddings)
        milliseconds = 1000 * min(seconds[name]) / len(contents)
        far = max(0.0, 1 - cosines.min())
        print(f"| {name} | {milliseconds:.2f} | {apart:.3f} | {far:.1e} |")


def cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[Any]:
    """Of each row with its own, in float64."""
    a, b = (each.astype(np.float64) for each in (first, second))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / lengths)


if __name__ == "__main__":
    main()
