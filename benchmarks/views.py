"""Images a second of both ways to augment, on two cores.

    python benchmarks/views.py [REPETITIONS]

Random images of 32 pixels in colour, two views each, batches of 256: Lightly's SimCLR
transform in two worker processes; and images read by one worker, augmented a batch at a
time in the main process with one thread. Interleaved, medians.
"""

import statistics
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import ImageData
from rkdo_plugin.recipes.training.batches import TwoViews
from rkdo_plugin.recipes.training.loader import StepLoader
from rkdo_plugin.recipes.views.transforms import batched, raw_image, two_views

COUNT = 5120
BATCH_SIZE = 256


def images() -> ImageData:
    """Random ones, as CIFAR's."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), np.uint8)
    return replace(
        load_data("digits"),
        name="random",
        train=[(Image.fromarray(image), 0) for image in pixels],
        channels=3,
        image_size=32,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )


def one_by_one(data: ImageData) -> float:
    """Images a second by Lightly's transform."""
    loader = StepLoader(TwoViews(data.train, two_views(data)), BATCH_SIZE, 0, 2)
    next(iter(loader))  # the workers have started
    start = time.perf_counter()
    for _ in loader:
        pass
    return COUNT / (time.perf_counter() - start)


def by_batches(data: ImageData) -> float:
    """Images a second by batched views."""
    loader = StepLoader(TwoViews(data.train, raw_image(data)), BATCH_SIZE, 0, 1)
    views = batched(two_views(data), data)
    next(iter(loader))
    start = time.perf_counter()
    for sources, *_ in loader:
        views(sources)
    return COUNT / (time.perf_counter() - start)


def main(repetitions: int) -> None:
    """Interleave the two, and print the medians."""
    torch.set_num_threads(1)
    data = images()
    rates: dict[str, list[float]] = {"lightly": [], "batches": []}
    for _ in range(repetitions):
        rates["lightly"].append(one_by_one(data))
        rates["batches"].append(by_batches(data))
    each, whole = (statistics.median(rate) for rate in rates.values())
    print(
        f"images/s: Lightly's transform {each:.0f}, batches {whole:.0f}, ratio "
        f"{whole / each:.1f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
