"""Write an encoder as one verified ONNX file."""

import dataclasses
import hashlib
import time
from pathlib import Path

import onnx

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.external import move_weights_out
from rkdo_plugin.export.file.metadata import (
    INTEGERS,
    SHA256,
    WEIGHTS_FILE,
    WEIGHTS_SHA256,
    Precision,
    describe,
    require_precision,
)
from rkdo_plugin.export.file.model_file import ModelFile, write_model
from rkdo_plugin.export.file.seal import seal
from rkdo_plugin.export.graph.build import to_graph
from rkdo_plugin.export.graph.half import require_half_range
from rkdo_plugin.export.graph.resize import with_resize
from rkdo_plugin.export.int8.make import integer_file
from rkdo_plugin.export.verification.calibration import require_calibration
from rkdo_plugin.export.verification.judge import Judge
from rkdo_plugin.export.verification.report import ParityError, Report
from rkdo_plugin.export.verification.side_by_side import BATCHES, pictures
from rkdo_plugin.publish import require_writable

MAX_BYTES = 2**31 - 2**20  # protobuf's limit for one file, minus room for the graph


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
    """Export an encoder to a file that exists only if it passes verification.

    The graph takes `image`, uint8 (batch, H, W, C), and returns `embedding`, float32
    (batch, D), of norm 1 if the encoder normalises. Preprocessing is inside the graph
    in every precision. Equal encoders give equal bytes. The manifest NAME.sha256
    appears beside the file. From 2 GB on the weights do, too, in NAME.CHECKSUM.data.

    Args:
        encoder: The encoder, from `freeze` or built directly.
        path: Where the file appears.
        precision: Arithmetic inside the graph. "fp32"; "fp16", half the size, for GPUs;
            "int8", for CPUs; "int8-dynamic", for vision transformers on CPUs;
            "int8-tensorrt", for GPUs with TensorRT. In every case the float32 graph has
            to pass its own gate first. That gate detects errors that fewer bits would
            hide. An int8 graph that fails keeps as few layers as possible in float32.
        calibration: For "int8" and "int8-tensorrt": about 256 real images, uint8
            (N, H, W, C), like those to be embedded.
        overwrite: Whether an older file at `path` may be replaced.
        images: Real images to verify with, uint8 (N, H, W, C). None: the calibration
            images, or generated pictures if there are none.
        resize: Let the graph resize and crop images, instead of the host. The images of
            a batch then have one size, which may be any. TensorRT cannot run such a
            graph.

    Returns:
        The report of the verification. Its `seconds` cover the whole export.

    Raises:
        FileExistsError: `path` exists and `overwrite` is off.
        OSError: The folder of `path` is missing or cannot be written to.
        ParityError: The file did not compute what the encoder computes.
        RuntimeError: torch cannot express the encoder as an ONNX graph.
        TypeError: `encoder` is not an Encoder, or images are not uint8.
        ValueError: The precision is unknown or does not suit the encoder, calibration
            images are missing or not real, too few images are there to judge layers by,
            images do not fit the encoder, its activations do not fit float16, or both
            `resize` and an encoder of any image size are asked for.

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
            "Expected `encoder` to be an Encoder but got "
            f"{type(encoder).__name__}; make one with freeze or Encoder(backbone, ...)"
        )
    require_precision(precision)
    require_calibration(encoder, precision, calibration)
    require_writable(path, overwrite=overwrite)
    compared = calibration if images is None else images
    if compared is None:
        compared = pictures(encoder)
    if resize and encoder.any_size:
        raise ValueError(
            "Expected `resize` or an encoder of any image size but got both; what size "
            "should the graph resize to?"
        )
    metadata = describe(encoder, precision, resize=resize)
    graph, judge = to_graph(encoder), Judge(encoder, compared)

    def finish(graph: onnx.ModelProto) -> ModelFile:
        if resize:
            graph = with_resize(graph, encoder.image_size, encoder.channels)
        return as_file(path.name, graph, metadata)

    if precision != "fp32":
        float32 = as_file(path.name, graph, describe(encoder, "fp32"))
        require_passed(judge.report(float32))
    if precision in INTEGERS:
        require_one_file(float32, precision)
        model, report = integer_file(
            graph, precision, calibration, images, encoder, judge, finish
        )
    else:
        if precision == "fp16":
            require_half_range(encoder, compared[: sum(BATCHES)])
            graph = to_graph(encoder, half=True)
        model = finish(graph)
        report = judge.timed(model, judge.report(model))
    require_passed(report)
    write_model(path.parent, model, remarks(report), overwrite=overwrite)
    return dataclasses.replace(report, seconds=time.perf_counter() - started)


def as_file(name: str, graph: onnx.ModelProto, metadata: dict[str, str]) -> ModelFile:
    """Make the files of a model. Weights that are too large for one file lie apart.

    Args:
        name: The model's file name.
        graph: The graph, changed in place.
        metadata: The metadata without checksums. Its keys start with `rkdo.`.
    """
    weights = None
    if sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > MAX_BYTES:
        weights = move_weights_out(graph, name)
        digest = hashlib.sha256(weights[1]).hexdigest()
        metadata = metadata | {WEIGHTS_FILE: weights[0], WEIGHTS_SHA256: digest}
    content, checksum = seal(graph, metadata)
    return ModelFile(name, content, metadata | {SHA256: checksum}, weights)


def require_one_file(model: ModelFile, precision: Precision) -> None:
    """Refuse to quantise a model whose weights lie in a file of their own.

    Raises:
        ValueError: The weights lie apart.
    """
    if model.weights is not None:
        raise ValueError(
            f"Expected weights of at most {MAX_BYTES:,} bytes for precision "
            f"'{precision}' but got {len(model.weights[1]):,}"
        )


def require_passed(report: Report) -> Report:
    """Return the report if the file passed.

    Raises:
        ParityError: The file did not pass.
    """
    if not report.passed:
        raise ParityError(report)
    return report


def remarks(report: Report) -> str:
    """Make the manifest's remarks. They hold no times: equal exports are equal."""
    figures = (f"{figure.name} {figure.value}" for figure in report.figures)
    return "\n".join(
        [
            f"{report.precision} against {report.compared_with}",
            f"images {report.images}",
            *figures,
            *(f"in float32: {name}" for name in report.float_layers),
        ]
    )
