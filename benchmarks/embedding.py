"""How near `rkdo embed` comes to the speed of its slower side, and to a plain loop.

    python benchmarks/embedding.py FOLDER [--encoder resnet18] [--image-size 224]

FOLDER holds images, which are taken again and again until there are `--images`. All
ways run in turn, as often as `--repetitions` says, and the table has the medians:

* decoding alone: the worker processes of `rkdo embed`, with one worker and with all,
  once they have started
* the model alone: onnxruntime on pixels that are in memory, a batch on each core
* `rkdo embed` into a folder of parts, and the same with a graph that costs nothing
* a plain loop: PyTorch's DataLoader with as many workers, and the encoder in eager mode

Both sides of the job share the cores, and each is measured with all of them. So the job
cannot take less than both one after the other: the last ratio says how near it comes.

The encoder has random weights, which take as long as trained ones.
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from rkdo_plugin.export import (
    EmbeddingSession,
    Encoder,
    Item,
    embed_images,
    export_onnx,
)
from rkdo_plugin.export.benchmark import random_encoder
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.encoder.pictures import is_picture, open_picture
from rkdo_plugin.export.reading.decoding import Decoder, cores, default_workers
from rkdo_plugin.export.reading.source import Listed

BATCH = 4  # images that the model runs at once, as `rkdo embed` does on a CPU
LOADER_BATCH = 32


class Repeated(Listed):
    """A folder's images again and again."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__()
        paths = sorted(path for path in folder.rglob("*") if is_picture(path))
        self.paths = [paths[number % len(paths)] for number in range(count)]

    def __iter__(self) -> Iterator[Item]:
        return (Item(str(n), path) for n, path in enumerate(self.paths))

    def count(self) -> int:
        """The number of images."""
        return len(self.paths)


class Pixels(Dataset[torch.Tensor]):
    """The same images for PyTorch's loader, decoded and resized the same way."""

    def __init__(self, paths: list[Path], image_size: int) -> None:
        self.paths, self.image_size = paths, image_size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> torch.Tensor:
        picture = open_picture(self.paths[number], 3)
        return torch.from_numpy(resize(picture, self.image_size, 3).copy())


class Corners(nn.Module):
    """A backbone that costs nothing: the colours of four pixels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Colours (B, 12) of images (B, 3, H, W)."""
        return images[:, :, ::31, ::31][:, :, :2, :2].flatten(1)


def decode(source: Repeated, image_size: int, workers: int) -> float:
    """Decode all images, drop them, and return the seconds behind the first tenth.

    They are scaled to all images: processes take a second to start, a long job hours.
    """
    with Decoder(image_size, 3, workers, BATCH) as decoder:
        done, started = 0, (0, 0.0)
        for items, *_ in decoder.map(source, lambda pixels: pixels[:, 0, :1, 0]):
            done += len(items)
            if not started[0] and done >= len(source.paths) // 10:
                started = done, time.perf_counter()
        seconds = time.perf_counter() - started[1]
    return seconds * done / (done - started[0])


def run_model(session: EmbeddingSession, pixels: np.ndarray, count: int) -> None:
    """Embed `count` images, a batch on each core at a time."""
    with ThreadPoolExecutor(cores()) as threads:
        batches = [pixels] * (count // len(pixels))
        for _ in threads.map(session.embed, batches):
            pass


def embed(session: EmbeddingSession, source: Repeated) -> None:
    """Run the job."""
    with TemporaryDirectory() as folder:
        embed_images(session, source, Path(folder, "parts"), batch_size=BATCH)


@torch.inference_mode()
def loop(encoder: Encoder, source: Repeated, image_size: int, workers: int) -> None:
    """Run what one would write without this package."""
    pixels = Pixels(source.paths, image_size)
    rows = [
        encoder(batch).numpy()
        for batch in DataLoader(pixels, LOADER_BATCH, num_workers=workers)
    ]
    assert len(np.concatenate(rows)) == len(source.paths)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    size, source = options.image_size, Repeated(options.folder, options.images)
    workers = default_workers(options.images)
    encoder = random_encoder(options.encoder, size).eval()
    stub = Encoder(Corners(), image_size=size, mean=[0.45] * 3, std=[0.25] * 3)
    with TemporaryDirectory() as folder:
        sessions = []
        for name, module in (("encoder", encoder), ("stub", stub)):
            export_onnx(module, Path(folder, f"{name}.onnx"))
            path = Path(folder, f"{name}.onnx")
            sessions.append(EmbeddingSession(path, "cpu", threads=1))
    session, free = sessions
    pixels = np.stack(
        [resize(open_picture(p, 3), size, 3) for p in source.paths[:BATCH]]
    )
    ways: dict[str, Callable[[], float | None]] = {
        "decoding, 1 worker": lambda: decode(source, size, 1),
        f"decoding, {workers} workers": lambda: decode(source, size, workers),
        "model": lambda: run_model(session, pixels, options.images),
        "embed": lambda: embed(session, source),
        "embed, free model": lambda: embed(free, source),
        "plain loop": lambda: loop(encoder, source, size, workers),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repetitions):
        for name, run in ways.items():
            started = time.perf_counter()
            found = run()
            whole = time.perf_counter() - started
            seconds[name].append(whole if found is None else found)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{options.encoder}, {size} pixels, {os.cpu_count()} cores")
    print("| way | images/s |\n|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {options.images / median:.0f} |")
    one, many, model, job, light, plain = medians.values()
    print(f"embed / its slower side: {max(many, model) / job:.2f}")
    print(f"embed / plain loop: {plain / job:.2f}")
    print(f"decoding, {workers} workers / 1: {one / many:.2f}")
    print(f"embed with a free model / decoding: {many / light:.2f}")
    print(f"embed / both sides one after the other: {(many + model) / job:.2f}")


if __name__ == "__main__":
    main()
