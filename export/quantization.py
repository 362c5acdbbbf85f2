"""Make an integer file from an exported float32 file."""

import dataclasses
import time
from pathlib import Path

import onnx

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import INTEGERS, PRECISION, Precision
from rkdo_plugin.export.file.model_file import read_model, write_model
from rkdo_plugin.export.int8.make import integer_file
from rkdo_plugin.export.onnx import (
    as_file,
    remarks,
    require_one_file,
    require_passed,
)
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.verification.calibration import require_calibration
from rkdo_plugin.export.verification.judge import Judge
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.publish import require_writable


def quantize(
    model: str | Path,
    output: str | Path,
    calibration: UInt8Array | None = None,
    *,
    precision: Precision = "int8",
    overwrite: bool = False,
    images: UInt8Array | None = None,
) -> Report:
    """Make an integer file from an exported float32 file, without its checkpoint.

    Args:
        model: A float32 file that `export_onnx` wrote.
        output: Where the integer file appears.
        calibration: For "int8" and "int8-tensorrt": about 256 real images, uint8
            (N, H, W, C), like those to be embedded.
        precision: "int8", "int8-dynamic" or "int8-tensorrt".
        overwrite: Whether an older file at `output` may be replaced.
        images: Real images to verify with, uint8 (N, H, W, C). None: the calibration
            images, or generated pictures if there are none.

    Returns:
        The report of the verification against the float32 file. Its `seconds` cover
        the whole of this function.

    Raises:
        FileExistsError: `output` exists and `overwrite` is off.
        FileNotFoundError: There is no such model.
        OSError: The folder of `output` is missing or cannot be written to.
        ParityError: The integer file differs too much from the float32 file.
        TypeError: Images are not uint8.
        ValueError: The model is not a float32 export, the precision does not suit it,
            calibration images are missing or not real, too few images are there to
            judge layers by, or images do not fit the model.
    """
    started = time.perf_counter()
    output = Path(output)
    if precision not in INTEGERS:
        raise ValueError(
            f"Expected `precision` to be one of {', '.join(INTEGERS)} but got "
            f"'{precision}'"
        )
    float32 = read_model(Path(model))
    if float32.metadata[PRECISION] != "fp32":
        raise ValueError(
            f"Expected {model} to have precision 'fp32' but it has "
            f"'{float32.metadata[PRECISION]}'"
        )
    require_one_file(float32, precision)
    reference = EmbeddingSession(float32, provider="cpu")
    require_calibration(reference, precision, calibration)
    require_writable(output, overwrite=overwrite)
    graph = onnx.load_model_from_string(float32.content)
    metadata = float32.metadata | {PRECISION: precision}
    made, report = integer_file(
        graph,
        precision,
        calibration,
        images,
        reference,
        Judge(reference, calibration if images is None else images),
        lambda graph: as_file(output.name, graph, metadata),
    )
    require_passed(report)
    write_model(output.parent, made, remarks(report), overwrite=overwrite)
    return dataclasses.replace(report, seconds=time.perf_counter() - started)
