"""What an exported file says about itself."""

import json
from importlib.metadata import version

import onnx
import torch

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.images import RESIZE

PREFIX = "rkdo."
PRECISION = PREFIX + "precision"
INPUT, OUTPUT = "image", "embedding"


def describe(
    encoder: Encoder, precision: str, *, resize: bool = False
) -> dict[str, str]:
    """Everything a host needs to know to use the file.

    Args:
        encoder: The encoder that the file is made from.
        precision: Arithmetic inside the graph.
        resize: Whether the graph resizes images of any size.

    Returns:
        Keys prefixed `rkdo.`; lists are JSON.
    """
    return {
        PREFIX + key: value
        for key, value in {
            "image_size": str(encoder.image_size),
            "any_size": json.dumps(encoder.any_size or resize),
            "channels": str(encoder.channels),
            "mean": json.dumps([float(f"{m:.7g}") for m in encoder.mean.tolist()]),
            "std": json.dumps([float(f"{s:.7g}") for s in encoder.std.tolist()]),
            "resize": f"in the graph, as {RESIZE}" if resize else RESIZE,
            "dim": str(encoder.dim),
            "normalize": json.dumps(encoder.normalize),
            "precision": precision,
            "version.onnx": onnx.__version__,
            "version.rkdo-plugin": version("rkdo-plugin"),
            "version.torch": torch.__version__,
        }.items()
    }
