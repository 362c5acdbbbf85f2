"""What an exported file says about itself, and the checksum of its weights."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from rkdo_plugin.export.encoder import Encoder
from rkdo_plugin.export.images import RESIZE

PREFIX = "rkdo."
INPUT, OUTPUT = "image", "embedding"


def describe(encoder: Encoder, model: onnx.ModelProto) -> dict[str, str]:
    """Everything a host needs to know to use the file.

    Args:
        encoder: The encoder the model was made from.
        model: The exported graph.

    Returns:
        Keys prefixed `rkdo.`; lists are JSON.
    """
    return {
        PREFIX + key: value
        for key, value in {
            "image_size": str(encoder.image_size),
            "any_size": json.dumps(encoder.any_size),
            "channels": str(encoder.channels),
            "mean": json.dumps([float(f"{m:.7g}") for m in encoder.mean.tolist()]),
            "std": json.dumps([float(f"{s:.7g}") for s in encoder.std.tolist()]),
            "resize": RESIZE,
            "dim": str(encoder.dim),
            "normalize": json.dumps(encoder.normalize),
            "precision": "fp32",
            "weights_sha256": weights_sha256(model),
            "version.onnx": onnx.__version__,
            "version.rkdo-plugin": version("rkdo-plugin"),
            "version.torch": torch.__version__,
        }.items()
    }


def weights_sha256(model: onnx.ModelProto) -> str:
    """Checksum over every initializer: name, type, shape and values, by name.

    The values are hashed rather than the file, so that tools which only rewrite
    metadata or node names leave the checksum valid.
    """
    digest = hashlib.sha256()
    for tensor in sorted(model.graph.initializer, key=lambda tensor: tensor.name):
        digest.update(f"{tensor.name}:{tensor.data_type}:{tensor.dims}".encode())
        digest.update(numpy_helper.to_array(tensor).tobytes())
    return digest.hexdigest()


def read_model(path: Path) -> tuple[bytes, dict[str, str]]:
    """Read an exported file and check it against its own checksum.

    Args:
        path: A file written by `export_onnx`.

    Returns:
        The file's bytes, so that what was checked is what runs; and its metadata.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not an ONNX file, not one of ours, keeps weights outside
            itself, or its weights changed since the export.
    """
    content = path.read_bytes()
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(f"{path} is not an ONNX file, or is cut short") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    missing = [
        key
        for key in ("image_size", "channels", "dim", "weights_sha256")
        if PREFIX + key not in metadata
    ]
    if missing:
        raise ValueError(
            f"Expected {path} to be written by export_onnx but its metadata has no "
            + ", ".join(PREFIX + key for key in missing)
        )
    # A stored path could point anywhere on this machine.
    if any(tensor.external_data for tensor in model.graph.initializer):
        raise ValueError(
            f"Expected {path} to hold its weights but they are in another file"
        )
    recorded, found = metadata[PREFIX + "weights_sha256"], weights_sha256(model)
    if recorded != found:
        raise ValueError(
            f"the weights in {path} are damaged: their sha256 is {found}, and "
            f"{recorded} was recorded at the export"
        )
    return content, metadata
