"""Quantise an encoder's graph to 8-bit integers."""

import contextlib
import logging
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import INPUT, Precision
from rkdo_plugin.export.graph.build import strip

INTEGERS: tuple[Precision, ...] = ("int8", "int8-dynamic")
CPU = Path("/proc/cpuinfo")
BATCH = 16  # calibration images that run at once
# Operators with integer kernels. Preprocessing and norms stay in float32: they take
# almost no time, and their ranges fit 256 values worst.
INTEGER_OPS = ["Add", "Clip", "Conv", "Gemm", "MatMul", "MaxPool", "Relu"]


def to_integers(
    model: onnx.ModelProto, calibration: UInt8Array | None
) -> onnx.ModelProto:
    """Quantise a graph.

    Args:
        model: The float32 graph.
        calibration: Images like those to be embedded, uint8 (N, H, W, C). They show the
            ranges of activations. None: activations find their ranges at run time.

    Returns:
        The quantised graph.
    """
    graph = (
        to_dynamic_int8(model) if calibration is None else to_int8(model, calibration)
    )
    strip(graph)
    return graph


def to_int8(model: onnx.ModelProto, calibration: UInt8Array) -> onnx.ModelProto:
    """Quantise weights and activations, for convolutional networks.

    Weights are signed, with one scale for each channel. They have 7 bits where this CPU
    has no VNNI: such files are exact on any CPU. Activations are unsigned, with a zero
    point. CPUs compute these fastest; TensorRT does not support the zero point.
    The graph gets pairs of QuantizeLinear and DequantizeLinear, which onnxruntime
    fuses.

    Args:
        model: The float32 graph.
        calibration: Images like those to be embedded, uint8 (N, H, W, C). They show the
            ranges of activations.

    Returns:
        The quantised graph.
    """
    with _prepared(model) as (prepared, output):
        quantize_static(
            prepared,
            output,
            _Batches(calibration),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=INTEGER_OPS,
            per_channel=True,
            reduce_range=sums_saturate(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load_model(output)


def to_dynamic_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantise weights, for vision transformers.

    Activations find their ranges at run time. A transformer's activations differ too
    much between images to share a range. Convolutions become several times slower.

    Args:
        model: The float32 graph.

    Returns:
        The quantised graph.

    Raises:
        ValueError: Convolutions hold most of the weights.
    """
    if is_convolutional(model):
        raise ValueError(
            "Expected a vision transformer for precision 'int8-dynamic' but most of "
            "this encoder's weights are convolutions, which it makes several times "
            "slower; use precision 'int8' with calibration images"
        )
    with _prepared(model) as (prepared, output):
        quantize_dynamic(
            prepared,
            output,
            op_types_to_quantize=["Gemm", "MatMul"],
            per_channel=True,
            # The sums of two unsigned integers are exact everywhere, and slower.
            weight_type=QuantType.QUInt8 if sums_saturate() else QuantType.QInt8,
        )
        return onnx.load_model(output)


def is_convolutional(model: onnx.ModelProto) -> bool:
    """Find out if at least half of a graph's weights belong to convolutions."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes = {"Conv": 0, "MatMul": 0, "Gemm": 0}
    for node in model.graph.node:
        if node.op_type in sizes and node.input[1] in weights:
            sizes[node.op_type] += int(np.prod(weights[node.input[1]].dims))
    return sizes["Conv"] >= sizes["MatMul"] + sizes["Gemm"]


def sums_saturate() -> bool:
    """Find out if this CPU adds products of 8-bit integers in 16 bits.

    x86 CPUs without VNNI do. Sums beyond 16 bits are cut, and an encoder then computes
    something else, without an error.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    if not CPU.exists():
        return False
    flags = re.findall(r"^flags\s*:(.*)$", CPU.read_text(), flags=re.MULTILINE)
    return any("avx2" in each and "vnni" not in each for each in flags)


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Hands images to onnxruntime's calibration in batches."""

    def __init__(self, images: UInt8Array) -> None:
        self._batches = iter(np.split(images, range(BATCH, len(images), BATCH)))

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Return the next batch, and None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


@contextlib.contextmanager
def _prepared(model: onnx.ModelProto) -> Iterator[tuple[Path, Path]]:
    """Yield the path of the folded graph that the quantiser reads, and one to write."""
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as folder:
        float32, prepared = Path(folder, "float32.onnx"), Path(folder, "prepared.onnx")
        onnx.save_model(model, float32)
        root.setLevel(logging.ERROR)  # it would advise to do what is done here
        try:
            # Symbolic shape inference fails on the uint8 input; onnx's own is enough.
            quant_pre_process(float32, prepared, skip_symbolic_shape=True)
            yield prepared, Path(folder, "int8.onnx")
        finally:
            root.setLevel(level)
