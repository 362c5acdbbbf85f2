"""Export many encoders, and measure how close and how fast the files are.

    python benchmarks/encoders.py [NAME ...]

Prints a row of Markdown for each named encoder, or for all of `ENCODERS`. Each encoder
runs in a process of its own. The gate is that of `export_onnx`. An encoder that fails
gets a row with the reason.

The weights are random. A fresh network would hide what an export gets wrong, so norms
get statistics of photographs, and scales and shifts get values as after training.
Speeds are medians for 8 images on one thread, with PyTorch and onnxruntime in turn.
"""

import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import timm
import torch
from numpy.typing import NDArray
from torch import nn

from rkdo_plugin import create_encoder
from rkdo_plugin.export import Encoder, ParityError, export_onnx
from rkdo_plugin.export.benchmark import photographs
from rkdo_plugin.export.verification.side_by_side import BATCHES

ENCODERS = {
    "small-convnet": 32,
    "resnet18-small": 32,
    "resnet18": 224,
    "resnet50": 224,
    "torchvision:convnext_tiny": 224,
    "torchvision:densenet121": 224,
    "torchvision:efficientnet_b0": 224,
    "torchvision:mobilenet_v3_small": 224,
    "torchvision:mobilenet_v3_large": 224,
    "torchvision:regnet_y_400mf": 224,
    "torchvision:shufflenet_v2_x1_0": 224,
    "torchvision:swin_t": 224,
    "torchvision:swin_v2_t": 256,
    "torchvision:vit_b_16": 224,
    "masked-vit:vit_tiny_patch16_224": 224,
    "timm:vit_tiny_patch16_224": 224,
    "timm:vit_small_patch16_224": 224,
    "timm:vit_small_patch14_dinov2": 224,
    "timm:vit_small_patch14_reg4_dinov2": 224,
    "timm:vit_small_patch16_dinov3": 256,
    "timm:deit3_small_patch16_224": 224,
    "timm:eva02_tiny_patch14_224": 224,
    "timm:beit_base_patch16_224": 224,
    "timm:cait_xxs24_224": 224,
    "timm:xcit_nano_12_p16_224": 224,
    "timm:levit_128": 224,
    "timm:mixer_s32_224": 224,
    "timm:swin_tiny_patch4_window7_224": 224,
    "timm:maxvit_nano_rw_256": 256,
    "timm:convnext_nano": 224,
    "timm:convnextv2_atto": 224,
    "timm:efficientnet_b0": 224,
    "timm:mobilenetv4_conv_small": 224,
    "timm:regnety_004": 224,
    "timm:resnetv2_50": 224,
    "timm:fastvit_t8": 256,
}
RESIZABLE = ("dinov2",)  # made for another image size; they take `img_size`
TIMED_IMAGES = 8
REPETITIONS = 7
HEADER = """\
| encoder | pixels | exporter | export, s | max difference | 1 - cosine \
| file / weights | Shape | PyTorch / ONNX time |
|---|---|---|---|---|---|---|---|---|"""


def create(name: str, image_size: int) -> nn.Module:
    """Make an encoder for images of one size."""
    model = name.removeprefix("timm:")
    if model != name and any(family in model for family in RESIZABLE):
        network: nn.Module = timm.create_model(
            model, num_classes=0, img_size=image_size
        )
        return network
    return create_encoder(name)


@torch.no_grad()
def live_in(backbone: nn.Module, pixels: torch.Tensor) -> None:
    """Replace a fresh network's ones and zeros, and set real statistics."""
    for name, parameter in backbone.named_parameters():
        if parameter.numel() == 1:
            continue  # a single scale, which keeps its value
        if "gamma" in name or "layer_scale" in name:
            parameter.uniform_(0.1, 0.5)  # it starts so small that it hides the branch
        elif parameter.ndim == 1 and parameter.eq(1).all():
            parameter.uniform_(0.5, 1.5)
        elif not parameter.any():
            parameter.normal_(0, 0.05)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.momentum = 1.0  # take the statistics of this pass only
    backbone.train()(pixels)


def row(name: str, image_size: int) -> str:
    """Export one encoder and measure it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = photographs(sum(BATCHES), image_size)
    backbone = create(name, image_size)
    live_in(
        backbone, (torch.from_numpy(images[:8]).permute(0, 3, 1, 2) / 255 - 0.45) / 0.25
    )
    encoder = Encoder(backbone, image_size=image_size, mean=[0.45] * 3, std=[0.25] * 3)
    with TemporaryDirectory() as folder:
        path = Path(folder, "encoder.onnx")
        try:
            report = export_onnx(encoder, path, images=images)
        except (ParityError, RuntimeError) as error:
            reason = " ".join(str(error).split()).replace("|", "/")
            return f"| {name} | {image_size} | failed: {reason[:300]} |||||||"
        nodes = onnx.load(path).graph.node
        ratio = speedup(encoder, path, images[:TIMED_IMAGES])
    # The two exporters name their nodes differently.
    older = any(node.name.startswith("/") for node in nodes)
    return (
        f"| {name} | {image_size} | {'older' if older else 'dynamo'} "
        f"| {report.seconds:.0f} | {report.max_abs:.1e} "
        f"| {report.max_one_minus_cosine:.1e} | {report.size_ratio:.3f} "
        f"| {sum(node.op_type == 'Shape' for node in nodes)} | {ratio:.2f} |"
    )


def speedup(encoder: Encoder, path: Path, images: NDArray[np.uint8]) -> float:
    """Measure time of PyTorch over time of onnxruntime, one thread, interleaved."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    tensor = torch.from_numpy(images)
    runs: list[Callable[[], Any]] = [
        lambda: encoder(tensor),
        lambda: session.run(None, {"image": images}),
    ]
    seconds: list[list[float]] = [[], []]
    with torch.inference_mode():
        for _ in range(REPETITIONS + 1):
            for run, times in zip(runs, seconds, strict=True):
                started = time.perf_counter()
                run()
                times.append(time.perf_counter() - started)
    eager, exported = (statistics.median(times[1:]) for times in seconds)
    return eager / exported


def main(names: list[str]) -> None:
    """Run each encoder in its own process, so that a crash ends only one of them."""
    if len(names) == 2 and names[0] == "--row":
        warnings.simplefilter("ignore")
        print(row(names[1], ENCODERS[names[1]]))
        return
    print(HEADER, flush=True)
    for name in names or ENCODERS:
        command = [sys.executable, __file__, "--row", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        lines = done.stdout.splitlines() or [f"| {name} | ended with {done.returncode}"]
        print(lines[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
