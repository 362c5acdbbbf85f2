"""Make the `config.pbtxt` of a new Triton model."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from google.protobuf import text_encoding  # type: ignore[import-untyped]

from rkdo_plugin.export.encoder.image_size import parse_image_size, sides
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT, PRECISION, PREFIX

MODEL_FILE = "model.onnx"


class Word(str):
    """A word that the text format does not quote, such as an enum's value."""


def model_config(
    image: Sequence[int],
    embedding: Sequence[int],
    metadata: Mapping[str, str],
    *,
    name: str,
    max_batch_size: int,
    batches: Sequence[int],
    max_queue_delay_microseconds: int,
    device: Literal["gpu", "cpu"],
    instances: int,
    tensorrt: bool,
    serve_versions: int,
) -> dict[str, Any]:
    """Make the configuration as nested fields, for `to_text`.

    `image` and `embedding` are the dimensions of the graph's input and output without
    the batch, where -1 is any size. `metadata` is the file's and becomes `parameters`.
    `write_triton_repository` describes the other options.

    Raises:
        ValueError: Triton would refuse an option, or could not run well with it.
    """
    at_least = {
        "max_batch_size": (max_batch_size, 1),
        "max_queue_delay_microseconds": (max_queue_delay_microseconds, 0),
        "instances": (instances, 1),
        "serve_versions": (serve_versions, 1),
    }
    for option, (value, least) in at_least.items():
        if value < least:
            raise ValueError(
                f"Expected `{option}` to be at least {least} but got {value}"
            )
    if not batches or not all(1 <= batch <= max_batch_size for batch in batches):
        raise ValueError(
            f"Expected `batches` to hold sizes from 1 to {max_batch_size}, which is "
            f"`max_batch_size`, but got {list(batches)}"
        )
    if device not in ("gpu", "cpu"):
        raise ValueError(f"Expected `device` to be 'gpu' or 'cpu' but got '{device}'")
    if tensorrt and (device == "cpu" or -1 in image):
        raise ValueError(
            "Expected `tensorrt` to be off, unless `device` is 'gpu' and images have "
            "one size, because each size needs an engine, but got `device` "
            f"'{device}' and images {list(image)}"
        )
    require_name(name)
    uint8, float32 = Word("TYPE_UINT8"), Word("TYPE_FP32")
    resized = (*sides(parse_image_size(metadata[PREFIX + "image_size"])), image[2])
    sample = {
        "data_type": uint8,
        "dims": list(resized) if -1 in image else list(image),
        "random_data": Word("true"),
    }
    parameters = dict(metadata)
    if device == "gpu":
        # 1 is HEURISTIC, as in our own sessions. Triton's default tries every algorithm
        # again at each new batch size.
        parameters["cudnn_conv_algo_search"] = "1"
    config: dict[str, Any] = {
        "name": name,
        "backend": "onnxruntime",
        "default_model_filename": MODEL_FILE,
        "max_batch_size": max_batch_size,
        "input": {"name": INPUT, "data_type": uint8, "dims": list(image)},
        "output": {"name": OUTPUT, "data_type": float32, "dims": list(embedding)},
        "version_policy": {"latest": {"num_versions": serve_versions}},
        "instance_group": {"kind": Word(f"KIND_{device.upper()}"), "count": instances},
        "dynamic_batching": {
            # With a preferred size of 1, Triton would run every request alone.
            "preferred_batch_size": sorted(set(batches) - {1}),
            "max_queue_delay_microseconds": max_queue_delay_microseconds,
        },
        "model_warmup": [
            {
                "name": f"batch of {batch}",
                "batch_size": batch,
                "inputs": {"key": INPUT, "value": sample},
            }
            for batch in sorted(set(batches))
        ],
        "parameters": [
            {"key": key, "value": {"string_value": value}}
            for key, value in sorted(parameters.items())
        ],
    }
    if tensorrt:
        shape = "x".join(map(str, image))
        profile = {"min": 1, "opt": max(batches), "max": max_batch_size}
        accelerator: dict[str, Any] = {
            "name": "tensorrt",
            # The precision is in the graph: only the 8 bits that are there have to be
            # allowed. There is no engine cache, because onnxruntime names engines by
            # the graph's structure and not by its weights.
            # Version 2 would run the engine of version 1 (microsoft/onnxruntime#6455).
            "parameters": [
                {
                    "key": f"trt_profile_{end}_shapes",
                    "value": f"{INPUT}:{batch}x{shape}",
                }
                for end, batch in profile.items()
            ],
        }
        if metadata[PRECISION] == "int8-tensorrt":
            accelerator["parameters"].append({"key": "precision_mode", "value": "INT8"})
        config["optimization"] = {
            "execution_accelerators": {"gpu_execution_accelerator": accelerator}
        }
    return config


def require_name(name: str) -> None:
    """Check that a name fits into Triton's folders and URLs.

    Raises:
        ValueError: It does not.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(
            "Expected `name` to consist of letters, digits, '_', '.' and '-', and not "
            f"to start with '.' or '-', but got '{name}'"
        )


def to_text(fields: Mapping[str, Any], indent: str = "") -> str:
    """Write nested fields in protobuf's text format. A list repeats its field.

    Example:
        >>> print(to_text({"name": "a", "kind": Word("KIND_CPU"), "dims": [2, 3]}))
        name: "a"
        kind: KIND_CPU
        dims: 2
        dims: 3
    """
    lines = []
    for key, field in fields.items():
        for value in field if isinstance(field, list) else [field]:
            if isinstance(value, Mapping):
                inner = to_text(value, indent + "  ")
                lines.append(f"{indent}{key} {{\n{inner}\n{indent}}}")
                continue
            if isinstance(value, str) and not isinstance(value, Word):
                value = f'"{text_encoding.CEscape(value, as_utf8=True)}"'
            lines.append(f"{indent}{key}: {value}")
    return "\n".join(lines)
