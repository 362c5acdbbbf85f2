"""Measure exports of an encoder, and how fast each way to run it is."""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from sklearn.datasets import load_sample_images

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import Precision, describe
from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.int8.styles import is_convolutional, to_integers
from rkdo_plugin.export.onnx import as_file, export_onnx
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import CPUSettings
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.export.verification.side_by_side import BATCHES
from rkdo_plugin.plugins.create import create_encoder

CALIBRATION = 64  # images
WARM_UP = 2  # runs of each way that are not counted

Run = Callable[[], Any]


@dataclass(frozen=True)
class Speed:
    """How fast one way to run an encoder is.

    Attributes:
        way: The way, in words.
        milliseconds: Time for a batch, the median over the repetitions.
        ratio: Eager PyTorch's milliseconds over `milliseconds`. Above 1 is faster.
        cosine: Smallest cosine with eager PyTorch's embeddings over the images.
        fault: Why it did not run. Empty if it ran.
    """

    way: str
    milliseconds: float
    ratio: float
    cosine: float
    fault: str = ""


def random_encoder(name: str, image_size: int) -> Encoder:
    """Make an encoder with random weights and BatchNorm statistics of real images.

    Args:
        name: A registered encoder's name.
        image_size: Height and width of the images in pixels.
    """
    torch.manual_seed(0)
    backbone = create_encoder(name)
    pixels = torch.from_numpy(photographs(32, image_size)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        backbone((pixels - 0.45) / 0.25)
    return Encoder(backbone, image_size=image_size, mean=[0.45] * 3, std=[0.25] * 3)


def photographs(count: int, image_size: int) -> UInt8Array:
    """Crop scikit-learn's two photographs, enlarged if they are smaller than a crop.

    Args:
        count: Number of images.
        image_size: Height and width in pixels.

    Returns:
        Images, uint8 (count, image_size, image_size, 3).
    """
    generator = np.random.default_rng(0)
    crops = []
    for number in range(count):
        photograph = load_sample_images().images[number % 2]
        while min(photograph.shape[:2]) < image_size:
            photograph = photograph.repeat(2, axis=0).repeat(2, axis=1)
        top, left = (
            generator.integers(0, length - image_size + 1)
            for length in photograph.shape[:2]
        )
        crops.append(photograph[top : top + image_size, left : left + image_size])
    return np.stack(crops)


def export_report(name: str, image_size: int) -> Report:
    """Export an encoder with random weights in float32, and verify it.

    Args:
        name: A registered encoder's name.
        image_size: Height and width of the images in pixels.
    """
    encoder = random_encoder(name, image_size)
    images = photographs(sum(BATCHES), image_size)
    with TemporaryDirectory() as folder:
        return export_onnx(encoder, Path(folder, "encoder.onnx"), images=images)


def encoder_speeds(
    name: str, image_size: int, batch_size: int, repetitions: int
) -> list[Speed]:
    """Time every way to run an encoder on one CPU thread, interleaved in one run.

    The gates are not applied, because random weights do not keep neighbours.

    Args:
        name: A registered encoder's name.
        image_size: Height and width of the images in pixels.
        batch_size: Number of images in a run.
        repetitions: Number of timed runs of each way, after two that are not counted.

    Returns:
        The speeds, eager PyTorch's first.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        encoder = random_encoder(name, image_size)
        images = photographs(batch_size, image_size)
        ways = _in_torch(encoder, images) | _in_onnxruntime(encoder, images)
        return _race(ways, repetitions)
    finally:
        torch.set_num_threads(threads)


def _race(ways: dict[str, Run], repetitions: int) -> list[Speed]:
    faults: dict[str, str] = {}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, Any] = {}
    for _ in range(repetitions + WARM_UP):
        for way in [way for way in ways if way not in faults]:
            started = time.perf_counter()
            try:
                found[way] = np.asarray(ways[way](), dtype=np.float64)
            except (RuntimeError, ImportError, OSError) as error:
                # A compiler is missing, or the processor lacks a type.
                faults[way] = str(error).strip().partition("\n")[0]
            seconds[way].append(time.perf_counter() - started)
    first = next(iter(ways))
    median = {
        way: statistics.median(times[WARM_UP:] or times)
        for way, times in seconds.items()
    }
    return [
        Speed(way, np.nan, np.nan, np.nan, faults[way])
        if way in faults
        else Speed(
            way,
            1000 * median[way],
            median[first] / median[way],
            float((found[way] * found[first]).sum(axis=1).min()),
        )
        for way in ways
    ]


def _in_torch(encoder: Encoder, images: UInt8Array) -> dict[str, Run]:
    batch = torch.from_numpy(images)
    last = copy.deepcopy(encoder)
    last.backbone.to(memory_format=torch.channels_last)

    def run(module: Callable[..., Any], low: bool = False) -> Run:
        def embed() -> Any:
            with (
                torch.inference_mode(),
                torch.autocast("cpu", torch.bfloat16, enabled=low),
            ):
                return module(batch).float().numpy()

        return embed

    return {
        "torch eager": run(encoder),
        "torch channels_last": run(last),
        "torch compile": run(torch.compile(encoder)),
        "torch bfloat16 autocast": run(encoder, low=True),
    }


def _in_onnxruntime(encoder: Encoder, images: UInt8Array) -> dict[str, Run]:
    graphs: dict[Precision, onnx.ModelProto] = {
        "fp32": to_graph(encoder),
        "fp16": to_graph(encoder, half=True),
    }
    if is_convolutional(graphs["fp32"]):
        calibration = photographs(CALIBRATION, images.shape[1])
        graphs["int8"] = to_integers(graphs["fp32"], calibration)
    else:
        graphs["int8-dynamic"] = to_integers(graphs["fp32"], None)
    ways = {}
    for precision, graph in graphs.items():
        file = as_file("encoder.onnx", graph, describe(encoder, precision))
        session = EmbeddingSession(file, CPUSettings(threads=1))
        ways[f"onnxruntime {precision}"] = _bound(session, images)
    return ways


def _bound(session: EmbeddingSession, images: UInt8Array) -> Run:
    return lambda: session.embed(images)
