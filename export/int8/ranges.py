"""Find the ranges of activations, by each method that onnxruntime offers."""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    create_calibrator,
)
from onnxruntime.quantization.calibrate import TensorsData

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import INPUT

MIN_MAX = "min-max"
BATCH = 16  # images that run at once, and that the moving average takes one range of
# Histograms need all activations of a batch at once.
HISTOGRAM_IMAGES, HISTOGRAM_BATCH = 32, 4
# Bins from -max to max. The search for the least entropy takes time with their square.
BINS, QUANTIZED_BINS = 512, 128
PERCENTILES = (99.999, 99.99)


def extremes(
    model: onnx.ModelProto, operators: Sequence[str], images: UInt8Array
) -> dict[str, TensorsData]:
    """Find the smallest and the largest value of each tensor.

    Args:
        model: The float32 graph, prepared for the quantiser.
        operators: Operators whose inputs and outputs are watched.
        images: Calibration images, uint8 (N, H, W, C).

    Returns:
        Ranges by the name of the method: "min-max" of all images, and "moving average"
        of the smallest and the largest values of the batches.
    """
    with _calibrator(model, operators, CalibrationMethod.MinMax) as calibrator:
        found: list[TensorsData] = []
        for batch in _batches(images, BATCH):
            calibrator.collect_data(_Once(batch))
            found.append(calibrator.compute_data())
            calibrator.calibrate_tensors_range = None  # each batch for itself
    ends = {
        name: [[each[name].lowest, each[name].highest] for each in found]
        for name in found[0]
    }
    return {
        MIN_MAX: _as_ranges(
            {
                name: (
                    np.min([low for low, _ in pairs], 0),
                    np.max([h for _, h in pairs], 0),
                )
                for name, pairs in ends.items()
            }
        ),
        "moving average": _as_ranges(
            {name: tuple(np.mean(pairs, axis=0)) for name, pairs in ends.items()}
        ),
    }


def from_histograms(
    model: onnx.ModelProto, operators: Sequence[str], images: UInt8Array
) -> Iterator[tuple[str, TensorsData]]:
    """Find ranges that leave rare values out.

    Args:
        model: The float32 graph, prepared for the quantiser.
        operators: Operators whose inputs and outputs are watched.
        images: Calibration images, uint8 (N, H, W, C), of which 32 are used.

    Yields:
        The name of the method and its ranges: "percentile", which holds this share of
        the values, then "entropy", whose 128 steps keep the distribution best. That one
        takes longest.
    """
    few = images[:: max(1, len(images) // HISTOGRAM_IMAGES)][:HISTOGRAM_IMAGES]
    options = {"num_bins": BINS, "num_quantized_bins": QUANTIZED_BINS}
    method = CalibrationMethod.Entropy
    with _calibrator(model, operators, method, options) as calibrator:
        for batch in _batches(few, HISTOGRAM_BATCH):
            calibrator.collect_data(_Once(batch))
        collector = calibrator.collector
    for percentile in PERCENTILES:
        collector.percentile = percentile
        with contextlib.redirect_stdout(io.StringIO()):
            ends = collector.compute_percentile()
        yield f"percentile {percentile}", _as_ranges(ends)
    with contextlib.redirect_stdout(io.StringIO()):
        ends = collector.compute_entropy()
    yield "entropy", _as_ranges(ends)


def _as_ranges(ends: dict[str, tuple[Any, ...]]) -> TensorsData:
    """Ranges as the quantiser reads them: the first two of each tuple."""
    return TensorsData(
        CalibrationMethod.MinMax,
        {
            name: (np.asarray(low, np.float32), np.asarray(high, np.float32))
            for name, (low, high, *_) in ends.items()
        },
    )


class _Once(CalibrationDataReader):  # type: ignore[misc]
    """Hands one batch of images to onnxruntime's calibration."""

    def __init__(self, images: UInt8Array) -> None:
        self._batches = iter([{INPUT: images}])

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Return the batch, and None after that."""
        return next(self._batches, None)


def _batches(images: UInt8Array, size: int) -> list[UInt8Array]:
    return np.split(images, range(size, len(images), size))


@contextlib.contextmanager
def _calibrator(
    model: onnx.ModelProto,
    operators: Sequence[str],
    method: CalibrationMethod,
    options: dict[str, int] | None = None,
) -> Iterator[Any]:
    """onnxruntime's calibrator. What it prints about itself is thrown away."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(io.StringIO()),
    ):
        path = Path(folder, "float32.onnx")
        onnx.save_model(model, path)
        yield create_calibrator(
            path,
            list(operators),
            str(path.with_name("watched.onnx")),
            calibrate_method=method,
            extra_options=options or {},
        )
