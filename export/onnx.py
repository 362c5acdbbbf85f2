"""Write an encoder as one verified ONNX file."""

import dataclasses
import hashlib
import time
from pathlib import Path

import onnx

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.images import UInt8Array
from rkdo_plugin.export.file.external import move_weights_out
from rkdo_plugin.export.file.metadata import PRECISION, describe
from rkdo_plugin.export.file.model_file import (
    WEIGHTS_FILE,
    WEIGHTS_SHA256,
    ModelFile,
    write_model,
)
from rkdo_plugin.export.file.seal import SHA256, seal
from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.graph.half import require_half_range
from rkdo_plugin.export.graph.integers import to_integers
from rkdo_plugin.export.graph.resize import with_resize
from rkdo_plugin.export.verification.calibration import require_calibration
from rkdo_plugin.export.verification.gates import Precision, require_precision
from rkdo_plugin.export.verification.report import ParityError, Report
from rkdo_plugin.export.verification.side_by_side import BATCHES, pictures
from rkdo_plugin.export.verification.verify import compare
from rkdo_plugin.publish import require_writable

MAX_BYTES = 2**31 - 2**20  # protobuf's limit for one file, less room for the graph


def export_onnx(
    encoder: Encoder,
    path: str | Path,
    *,
    precision: Precision = "fp32",
    calibration: UInt8Array | None = None,
    overwrite: bool = False,
    images: UInt8Array | None = None,
    resize: bool = False,
) -> Report:
    """Export an encoder; the file exists only if it passed verification.

    The graph takes `image`, uint8 (batch, H, W, C), and returns `embedding`, float32
    (batch, D), of norm 1 if the encoder normalises; scaling is inside, whatever the
    precision. Equal encoders give equal bytes. Beside the file appears its manifest,
    NAME.sha256; and from 2 GB on its weights, NAME.CHECKSUM.data.

    Args:
        encoder: The encoder, from `freeze` or built directly.
        path: Where the file appears.
        precision: Arithmetic inside the graph: "fp32"; "fp16", half the size, for GPUs;
            "int8", for convolutional networks on CPUs; "int8-dynamic", for vision
            transformers there. For all of them the float32 graph has to pass its own
            gate first, which sees errors that are smaller than what fewer bits lose.
        calibration: For "int8": some 256 real images, uint8 (N, H, W, C), like those to
            be embedded.
        overwrite: Whether an older file at `path` may be replaced.
        images: Real images to verify with, uint8 (N, H, W, C); None: those of the
            calibration, or else generated ones.
        resize: Let the graph resize and crop images of any one size, as the host does
            otherwise. Not for TensorRT, which cannot.

    Returns:
        The report of the verification; `seconds` covers the whole export.

    Raises:
        FileExistsError: `path` exists and `overwrite` is off.
        OSError: The folder of `path` is missing or cannot be written to.
        ParityError: The file did not compute what the encoder computes.
        RuntimeError: torch cannot express the encoder as an ONNX graph.
        TypeError: The encoder is none.
        ValueError: The precision is not known or does not suit the encoder, calibration
            images are missing or not real, images do not fit the encoder, or its
            activations do not fit float16.

    Example:
        >>> encoder = freeze("runs/digits/last.ckpt")  # doctest: +SKIP
        >>> print(export_onnx(encoder, "encoder.onnx"))  # doctest: +SKIP
        parity passed on 43 images, batches 1, 2, 7, 33
          ...
    """
    started = time.perf_counter()
    path = Path(path)
    if not isinstance(encoder, Encoder):
        raise TypeError(
            "Expected `encoder` to be an Encoder, as freeze returns one and Encoder("
            f"backbone, ...) makes one, but got {type(encoder).__name__}"
        )
    require_precision(precision)
    require_calibration(encoder, precision, calibration)
    require_writable(path, overwrite=overwrite)
    if images is None:
        images = pictures(encoder) if calibration is None else calibration
    if resize and encoder.any_size:
        raise ValueError(
            "Expected `resize` or an encoder of images of any size but got both: what "
            "size should the graph resize to?"
        )
    metadata = describe(encoder, precision, resize=resize)
    graph = to_graph(encoder)
    if precision != "fp32":
        float32 = as_file(path.name, graph, metadata | {PRECISION: "fp32"})
        require_passed(compare(float32, encoder, images))
    if precision == "fp16":
        require_half_range(encoder, images[: sum(BATCHES)])
        graph = to_graph(encoder, half=True)
    elif precision != "fp32":
        require_one_file(float32, precision)
        graph = to_integers(graph, calibration)
    if resize:
        graph = with_resize(graph, encoder.image_size, encoder.channels)
    model = as_file(path.name, graph, metadata)
    report = require_passed(compare(model, encoder, images))
    write_model(path.parent, model, remarks(report), overwrite=overwrite)
    return dataclasses.replace(report, seconds=time.perf_counter() - started)


def as_file(name: str, graph: onnx.ModelProto, metadata: dict[str, str]) -> ModelFile:
    """A graph with its metadata and checksum, and its weights apart where they must.

    Args:
        name: The file's name.
        graph: The graph, changed in place.
        metadata: Keys prefixed `rkdo.`.
    """
    weights = None
    if sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > MAX_BYTES:
        weights = move_weights_out(graph, name)
        digest = hashlib.sha256(weights[1]).hexdigest()
        metadata = metadata | {WEIGHTS_FILE: weights[0], WEIGHTS_SHA256: digest}
    content, checksum = seal(graph, metadata)
    return ModelFile(name, content, metadata | {SHA256: checksum}, weights)


def require_one_file(model: ModelFile, precision: Precision) -> None:
    """Refuse to quantise weights that lie in a file of their own.

    Raises:
        ValueError: They do.
    """
    if model.weights is not None:
        raise ValueError(
            f"Expected weights of at most {MAX_BYTES:,} bytes for precision "
            f"'{precision}' but got {len(model.weights[1]):,}"
        )


def require_passed(report: Report) -> Report:
    """The report, if its file passed.

    Raises:
        ParityError: It did not.
    """
    if not report.passed:
        raise ParityError(report)
    return report


def remarks(report: Report) -> str:
    """Lines for the manifest; equal exports have equal ones, so no times."""
    figures = (f"{figure.name} {figure.value}" for figure in report.figures)
    return "\n".join(
        [
            f"{report.precision} against {report.compared_with}",
            f"images {report.images}",
            *figures,
        ]
    )
