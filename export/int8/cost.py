"""Say what an int8 file costs and gains beside other files."""

from collections.abc import Sequence

import numpy as np
import torch

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.model_file import ModelFile
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import CPUSettings
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.export.verification.side_by_side import run

IMAGES, REPETITIONS = 8, 7


def cost(
    float32: ModelFile, plain: ModelFile, made: ModelFile, images: UInt8Array
) -> tuple[str, str]:
    """Say how fast and how large a file is, beside two others.

    Args:
        float32: The file in float32.
        plain: The file with all layers in integers, which failed its gate.
        made: The file that passed.
        images: Images, uint8 (N, H, W, C).
    """
    slow, fast, this = _times((float32, plain, made), images)
    return (
        f"{'cost':<20} {this / fast:.2f} times the time and "
        f"{made.file_bytes / plain.file_bytes:.2f} times the size of the plain int8 "
        "file, which failed",
        f"{'gain':<20} {slow / this:.2f} times the speed and "
        f"{made.file_bytes / float32.file_bytes:.2f} times the size of the float32 "
        "file",
    )


def advice(
    made: ModelFile,
    report: Report,
    dynamic: ModelFile,
    other: Report,
    images: UInt8Array,
) -> str:
    """Say which file of a vision transformer is the better one.

    Args:
        made: The file with ranges from calibration.
        report: Its verification.
        dynamic: The file that finds ranges at run time.
        other: Its verification.
        images: Images, uint8 (N, H, W, C).
    """
    if not other.passed:
        words = "int8-dynamic fails the gate"
        words += ": prefer this file" if report.passed else ", too"
    elif not report.passed:
        words = "int8-dynamic passes the gate: use it"
    else:
        this, that = _times((made, dynamic), images)
        better = "this file" if this <= that else "int8-dynamic"
        words = (
            f"int8-dynamic passes, too, in {that / this:.2f} times the time of this "
            f"file: prefer {better}"
        )
    return f"{'advice':<20} {words}"


def _times(files: Sequence[ModelFile], images: UInt8Array) -> list[float]:
    """Median seconds of each file for a batch, in one run that takes turns."""
    settings = CPUSettings(torch.get_num_threads())
    sessions = [EmbeddingSession(file, settings) for file in files]
    _, seconds = run([images[:IMAGES]] * (REPETITIONS + 1), *sessions)
    medians: list[float] = np.median(seconds[1:], axis=0).tolist()
    return medians
