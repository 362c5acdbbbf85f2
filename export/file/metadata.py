"""The metadata of an exported file. docs/export.md has a table of the keys."""

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, get_args

import onnx

from rkdo_plugin.export.encoder.image_size import written
from rkdo_plugin.export.encoder.images import RESIZE

if TYPE_CHECKING:
    from rkdo_plugin.export.encoder.encoder import Encoder

INPUT, OUTPUT = "image", "embedding"  # names of the graph's input and output

PREFIX = "rkdo."
PRECISION = PREFIX + "precision"
RESIZING = PREFIX + "resize"
SHA256 = PREFIX + "sha256"
WEIGHTS_FILE, WEIGHTS_SHA256 = PREFIX + "weights_file", PREFIX + "weights_sha256"

Precision = Literal["fp32", "fp16", "int8", "int8-dynamic", "int8-tensorrt"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
CALIBRATED: tuple[Precision, ...] = ("int8", "int8-tensorrt")  # they need images
INTEGERS: tuple[Precision, ...] = ("int8", "int8-dynamic", "int8-tensorrt")


def require_precision(precision: str) -> None:
    """Check the name of a precision.

    Raises:
        ValueError: The name is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"Expected `precision` to be one of {', '.join(PRECISIONS)} but got "
            f"'{precision}'"
        )


def count_of(metadata: Mapping[str, str], key: str, path: object) -> int:
    """A number of the metadata, which is at least 1.

    Args:
        metadata: Of a file.
        key: Such as "dim", without the prefix.
        path: Names the file in an error.

    Raises:
        ValueError: It is no such number.
    """
    text = metadata.get(PREFIX + key, "")
    if not re.fullmatch("[1-9][0-9]{0,8}", text):
        raise ValueError(
            f"Expected {PREFIX}{key} of {path} to be at least 1 but got {text!r:.50}"
        )
    return int(text)


def flag_of(metadata: Mapping[str, str], key: str, path: object) -> bool:
    """Whether the metadata says that something holds; as `count_of`."""
    text = metadata.get(PREFIX + key, "")
    if text not in ("true", "false"):
        raise ValueError(
            f"Expected {PREFIX}{key} of {path} to be true or false but got {text!r:.50}"
        )
    return text == "true"


def describe(
    encoder: "Encoder", precision: Precision, *, resize: bool = False
) -> dict[str, str]:
    """Describe everything that a host needs to know to use the file.

    The checksums are not part of it: `seal` and `move_weights_out` compute them.

    Args:
        encoder: The encoder that the file is made from.
        precision: Arithmetic inside the graph.
        resize: Whether the graph resizes images of any size.

    Returns:
        The metadata. Keys start with `rkdo.`, and lists and booleans are JSON.
    """
    import torch

    return {
        PREFIX + key: value
        for key, value in {
            "image_size": written(encoder.image_size),
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
