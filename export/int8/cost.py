"""Measure what layers in float32 cost."""

import numpy as np
import torch

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.model_file import ModelFile
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import CPUSettings
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
    settings = CPUSettings(torch.get_num_threads())
    sessions = [EmbeddingSession(file, settings) for file in (float32, plain, made)]
    _, seconds = run([images[:IMAGES]] * (REPETITIONS + 1), *sessions)
    slow, fast, this = np.median(seconds[1:], axis=0)
    return (
        f"{'cost':<20} {this / fast:.2f} times the time and "
        f"{made.file_bytes / plain.file_bytes:.2f} times the size of the plain int8 "
        "file, which failed",
        f"{'gain':<20} {slow / this:.2f} times the speed and "
        f"{made.file_bytes / float32.file_bytes:.2f} times the size of the float32 "
        "file",
    )
