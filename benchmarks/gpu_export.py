"""The encoders of benchmarks/gpu.py: PyTorch beside sessions of onnxruntime."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_rows import NO_TIME, Budget, Clock, Row, Sizes
from torch import Tensor, nn

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.plugins.create import create_encoder

SECTION = "export"
PICTURES = 32  # different ones
COMPILED = "PyTorch bf16 compiled"
COMPILING = 30  # seconds that must be left before another compilation starts

Embed = Callable[[Tensor], Tensor]
Ways = dict[str, Callable[[int], Embed]]
"""For each way a function from the batch size to one from images to embeddings."""


# The rate of the card that holds for each way.
ARITHMETIC = {
    "PyTorch fp32": "fp32",
    "PyTorch TF32": "tf32",
    "PyTorch bf16": "bf16",
    COMPILED: "bf16",
    "onnxruntime fp32": "fp32",
    "onnxruntime TF32": "tf32",
    "onnxruntime fp16": "fp16",
    "onnxruntime fp32 CUDA graph": "fp32",
    "onnxruntime fp16 CUDA graph": "fp16",
}


def export(clock: Clock, sizes: Sizes, budget: Budget) -> Iterator[Row]:
    """From images uint8 on the device to embeddings on the device."""
    compiled: list[tuple[str, Encoder, Ways]] = []
    for name in sizes.encoders:
        try:
            encoder = random_encoder(name, sizes.encoder_image)
        except ImportError as error:
            yield Row(SECTION, "every way", name, note=f"not installed: {error}")
            continue
        encoder = encoder.to(clock.device)
        see_pictures(encoder)
        ways = in_torch(encoder, clock)
        compiled.append((name, encoder, {COMPILED: ways.pop(COMPILED)}))
        fault, sessions = in_onnxruntime(encoder, clock)
        if fault:
            yield Row(SECTION, "onnxruntime", name, note=f"not installed: {fault}")
        for batch in sizes.encoder_batches:
            yield from race(name, encoder, ways | sessions, batch, clock, budget)
    # Compiling takes longest, and comes last: the largest batches first.
    for batch in reversed(sizes.encoder_batches):
        for name, encoder, ways in compiled:
            yield from race(name, encoder, ways, batch, clock, budget)


def random_encoder(name: str, image_size: int) -> Encoder:
    """An encoder with random weights."""
    torch.manual_seed(0)
    backbone = create_encoder(name)
    return Encoder(backbone, image_size=image_size, mean=[0.45] * 3, std=[0.25] * 3)


def see_pictures(encoder: Encoder) -> None:
    """Give batch norm the statistics of pictures.

    Without them, activations would grow from block to block beyond float16.
    """
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all passes, of which there is one
    encoder.backbone.train()
    images = torch.from_numpy(sample_images(8, encoder.image_size, 3))
    with torch.no_grad():
        encoder(images.to(encoder.mean.device))
    encoder.backbone.eval()


def race(
    name: str, encoder: Encoder, ways: Ways, batch: int, clock: Clock, budget: Budget
) -> Iterator[Row]:
    """Time each way at a batch size, and compare what it computes."""
    few = sample_images(min(batch, PICTURES), encoder.image_size, 3)
    images = np.resize(few, (batch, *few.shape[1:]))  # repeated
    here = torch.from_numpy(images).to(clock.device)
    with torch.inference_mode(), products_in_tf32(False):
        expected = encoder(here)
    for way, open_way in ways.items():
        row = Row(SECTION, way, f"{name}, B = {batch}")
        if budget.left < (COMPILING * clock.on_gpu if way == COMPILED else 0):
            row.note = NO_TIME
            yield row
            continue
        embed = open_way(batch)
        clock.measure(row, partial(embed, here))
        if row.milliseconds is not None:
            row.rate = 1000 * batch / row.milliseconds
            cosines = (embed(here).double() * expected).sum(dim=1)
            row.note = f"1 - cosine {max(0.0, 1 - float(cosines.min())):.0e}"
        yield row


@contextmanager
def products_in_tf32(allowed: bool) -> Iterator[None]:
    """Let a GPU compute products and convolutions in TF32, or not."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, was in zip(backends, before, strict=True):
            backend.allow_tf32 = was


def in_torch(encoder: Encoder, clock: Clock) -> Ways:
    """Eager in each arithmetic, and compiled."""
    last = copy.deepcopy(encoder)
    last.backbone.to(memory_format=torch.channels_last)
    # In the dry run it is traced but not compiled, which takes a compiler and a minute.
    backend = "inductor" if clock.on_gpu else "eager"
    compiled: Any = torch.compile(last, dynamic=False, backend=backend)
    kind = clock.device.type

    def run(module: nn.Module, tf32: bool = False, half: bool = False) -> Embed:
        def embed(images: Tensor) -> Tensor:
            with (
                torch.inference_mode(),
                products_in_tf32(tf32),
                torch.autocast(kind, torch.bfloat16, enabled=half),
            ):
                found: Tensor = module(images)
                return found.float()

        return embed

    return {
        "PyTorch fp32": lambda _: run(encoder),
        "PyTorch TF32": lambda _: run(encoder, tf32=True),
        "PyTorch bf16": lambda _: run(last, half=True),
        COMPILED: lambda _: run(compiled, half=True),
    }


def in_onnxruntime(encoder: Encoder, clock: Clock) -> tuple[str, Ways]:
    """Why there are no sessions on this device, or the sessions."""
    try:
        from rkdo_plugin.export.file.metadata import Precision, describe
        from rkdo_plugin.export.graph.build import to_graph
        from rkdo_plugin.export.onnx import as_file
        from rkdo_plugin.export.runtime.session import EmbeddingSession
        from rkdo_plugin.export.runtime.settings import CPUSettings, CUDASettings
        from rkdo_plugin.export.runtime.trial import trial
    except ImportError as error:
        return str(error), {}
    if clock.on_gpu and (reason := trial("cuda")) is not None:
        return reason, {}
    on_cpu = copy.deepcopy(encoder).cpu()
    precisions: tuple[Precision, ...] = ("fp32", "fp16")
    files = {
        precision: as_file(
            "encoder.onnx",
            to_graph(on_cpu, half=precision == "fp16"),
            describe(on_cpu, precision),
        )
        for precision in precisions
    }

    def session(precision: Precision, graph: bool = False, **options: Any) -> Any:
        def open_session(batch: int) -> Embed:
            if not clock.on_gpu:
                return EmbeddingSession(files[precision], CPUSettings()).embed_tensor
            graphs = (batch,) if graph else ()
            settings = CUDASettings(cuda_graphs=graphs, **options)
            return EmbeddingSession(files[precision], settings).embed_tensor

        return open_session

    ways: Ways = {
        "onnxruntime fp32": session("fp32"),
        "onnxruntime TF32": session("fp32", profile="speed"),
        "onnxruntime fp16": session("fp16"),
        "onnxruntime fp32 CUDA graph": session("fp32", graph=True),
        "onnxruntime fp16 CUDA graph": session("fp16", graph=True),
    }
    return "", ways
