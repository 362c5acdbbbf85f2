"""An encoder's graph in 8-bit integers."""

import contextlib
import logging
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

from rkdo_plugin.export.encoder.images import UInt8Array
from rkdo_plugin.export.file.metadata import INPUT
from rkdo_plugin.export.graph.build import strip
from rkdo_plugin.export.verification.gates import Precision

INTEGERS: tuple[Precision, ...] = ("int8", "int8-dynamic")
BATCH = 16  # calibration images at a time
# What has integer kernels. Preprocessing and norms stay in float32: they cost nothing,
# and their ranges are the worst to share 256 values.
INTEGER_OPS = ["Add", "Clip", "Conv", "Gemm", "MatMul", "MaxPool", "Relu"]


def to_integers(
    model: onnx.ModelProto, calibration: UInt8Array | None
) -> onnx.ModelProto:
    """Quantise a graph: activations beforehand, where images show what they are like.

    Args:
        model: The float32 graph.
        calibration: Images like those to be embedded, uint8 (N, H, W, C).
    """
    graph = (
        to_dynamic_int8(model) if calibration is None else to_int8(model, calibration)
    )
    strip(graph)
    return graph


def to_int8(model: onnx.ModelProto, calibration: UInt8Array) -> onnx.ModelProto:
    """Quantise weights and activations, whose ranges real images show.

    Weights are signed, per channel; activations unsigned, with a zero point, which
    TensorRT does not support and CPUs compute fastest. All are pairs of QuantizeLinear
    and DequantizeLinear, which onnxruntime fuses. Suits convolutions.

    Args:
        model: The float32 graph.
        calibration: Images like those to be embedded, uint8 (N, H, W, C).

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
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load_model(output)


def to_dynamic_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantise weights; activations find their ranges at run time.

    Suits vision transformers, whose activations differ too much between images to share
    a range. Convolutions become several times slower.

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
            weight_type=QuantType.QInt8,
        )
        return onnx.load_model(output)


def is_convolutional(model: onnx.ModelProto) -> bool:
    """Whether most of a graph's weights belong to convolutions."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes = {"Conv": 0, "MatMul": 0, "Gemm": 0}
    for node in model.graph.node:
        if node.op_type in sizes and node.input[1] in weights:
            sizes[node.op_type] += int(np.prod(weights[node.input[1]].dims))
    return sizes["Conv"] >= sizes["MatMul"] + sizes["Gemm"]


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Images as onnxruntime asks for them."""

    def __init__(self, images: UInt8Array) -> None:
        self._batches = iter(np.split(images, range(BATCH, len(images), BATCH)))

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """The next batch, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


@contextlib.contextmanager
def _prepared(model: onnx.ModelProto) -> Iterator[tuple[Path, Path]]:
    """A folder with the graph, folded as the quantiser wants it, and room for more."""
    root = logging.getLogger()
    level = root.level
    with tempfile.TemporaryDirectory() as folder:
        float32, prepared = Path(folder, "float32.onnx"), Path(folder, "prepared.onnx")
        onnx.save_model(model, float32)
        root.setLevel(logging.ERROR)  # advice on what was done here already
        try:
            # Symbolic shapes fail on the uint8 input; onnx's own are enough.
            quant_pre_process(float32, prepared, skip_symbolic_shape=True)
            yield prepared, Path(folder, "int8.onnx")
        finally:
            root.setLevel(level)
