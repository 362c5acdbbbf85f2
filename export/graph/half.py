"""An encoder in half precision, and a check that float16 can hold its values."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rkdo_plugin.export.encoder.encoder import Encoder, evaluating
from rkdo_plugin.export.encoder.pictures import UInt8Array

MAX_HALF = torch.finfo(torch.float16).max


class HalfCore(nn.Module):
    """An encoder whose backbone computes in float16.

    Preprocessing and norms stay in float32, because the squares in a norm can leave the
    range of float16. The precision is part of the graph, so every runtime uses it.

    Args:
        encoder: The encoder. It is copied.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder)
        self.encoder.backbone.half()

    def forward(self, images: Tensor) -> Tensor:
        """Embed images uint8 (B, H, W, C). Returns float32 (B, D)."""
        pixels = self.encoder.prepare(images).half()
        return self.encoder.finish(self.encoder.backbone(pixels))


def require_half_range(encoder: Encoder, images: UInt8Array) -> None:
    """Check that float16 can hold an encoder's activations.

    onnxruntime computes float16 in float32 on CPUs. A comparison on a CPU therefore
    does not show what overflows on a GPU.

    Args:
        encoder: The encoder.
        images: Images like those to be embedded, uint8 (N, H, W, C).

    Raises:
        ValueError: A part of the backbone reads or returns a value above 65504, or is
            TorchScript, whose values nothing can watch.
    """
    if any(isinstance(p, torch.jit.ScriptModule) for p in encoder.backbone.modules()):
        raise ValueError(
            "Expected a backbone in Python, whose activations can be compared with the "
            "range of float16, but got TorchScript; use precision 'fp32'"
        )
    largest: dict[str, float] = {}

    def watch(name: str) -> Any:
        def note(_: nn.Module, *sides: Any) -> None:
            for side in sides:
                for value in side if isinstance(side, tuple) else (side,):
                    if isinstance(value, Tensor) and value.is_floating_point():
                        most = float(value.abs().max())
                        largest[name] = max(largest.get(name, 0.0), most)

        return note

    parts = encoder.backbone.named_modules(prefix="backbone")
    hooks = [part.register_forward_hook(watch(name)) for name, part in parts]
    try:
        with torch.inference_mode(), evaluating(encoder):
            contiguous = torch.from_numpy(np.ascontiguousarray(images))
            encoder(contiguous.to(encoder.mean.device))
    finally:
        for hook in hooks:
            hook.remove()
    name, most = max(largest.items(), key=lambda item: item[1])
    if most > MAX_HALF:
        raise ValueError(
            f"Expected activations within {MAX_HALF:,.0f}, the range of float16, but "
            f"got {most:.3g} at {name}; use precision 'fp32'"
        )
