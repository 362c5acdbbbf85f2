"""The ways to quantise a graph, one for each precision in integers."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.calibrate import TensorsData

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import Precision
from rkdo_plugin.export.graph.build import strip
from rkdo_plugin.export.int8.build import (
    Style,
    mixed,
    prepared,
    quantised,
    silenced,
)
from rkdo_plugin.export.int8.ranges import MIN_MAX, extremes
from rkdo_plugin.export.runtime.saturation import sums_saturate

# Operators with integer kernels. Preprocessing and norms stay in float32: they take
# almost no time, and their ranges fit 256 values worst.
OPERATORS = ("Add", "Clip", "Conv", "Gemm", "MatMul", "MaxPool", "Relu")
PRODUCTS = ("Conv", "Gemm", "MatMul")


def style_of(precision: Precision) -> Style:
    """Return how "int8" or "int8-tensorrt" quantises.

    "int8" is for CPUs. Weights have 7 bits where this CPU has no VNNI: such files are
    exact on any CPU. Activations are unsigned, with a zero point, which CPUs compute
    fastest.

    "int8-tensorrt": Activations are signed, with the zero point 0. TensorRT supports no
    other, and no integer biases. Only what products read is rounded; TensorRT fuses
    them with what follows. Weights stay in float32 in the file, before a pair of their
    own: every version of TensorRT reads that.

    Source: https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html
    """
    if precision == "int8":
        return Style(OPERATORS, QuantType.QUInt8, reduce_range=sums_saturate())
    return Style(
        PRODUCTS,
        QuantType.QInt8,
        round_results=False,
        options={
            "ActivationSymmetric": True,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": True,
            "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
            "QuantizeBias": False,
            "WeightSymmetric": True,
        },
    )


def to_integers(
    model: onnx.ModelProto, calibration: UInt8Array | None
) -> onnx.ModelProto:
    """Quantise a graph for CPUs, with the ranges that calibration images show.

    Args:
        model: The float32 graph.
        calibration: Images like those to be embedded, uint8 (N, H, W, C). None:
            activations find their ranges at run time, as vision transformers need it.

    Returns:
        The quantised graph.
    """
    if calibration is None:
        return to_dynamic_int8(model)
    style, graph = style_of("int8"), prepared(model)
    ranges = extremes(graph, style.operators, calibration)[MIN_MAX]
    return plain(graph, ranges, style)


def plain(model: onnx.ModelProto, ranges: TensorsData, style: Style) -> onnx.ModelProto:
    """Quantise all layers of a prepared graph, as onnxruntime does it.

    The bytes for CPUs are those of `onnxruntime.quantization.quantize_static`.
    """
    build = quantised if style.round_results else mixed
    graph = build(model, ranges, style)
    strip(graph)
    return graph


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
    with tempfile.TemporaryDirectory() as folder, silenced():
        float32, integers = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        onnx.save_model(prepared(model), float32)
        quantize_dynamic(
            float32,
            integers,
            op_types_to_quantize=["Gemm", "MatMul"],
            per_channel=True,
            # The sums of two unsigned integers are exact everywhere, and slower.
            weight_type=QuantType.QUInt8 if sums_saturate() else QuantType.QInt8,
        )
        graph = onnx.load_model(integers)
    strip(graph)
    return graph


def is_convolutional(model: onnx.ModelProto) -> bool:
    """Find out if at least half of a graph's weights belong to convolutions."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    sizes = {"Conv": 0, "MatMul": 0, "Gemm": 0}
    for node in model.graph.node:
        if node.op_type in sizes and node.input[1] in weights:
            sizes[node.op_type] += int(np.prod(weights[node.input[1]].dims))
    return sizes["Conv"] >= sizes["MatMul"] + sizes["Gemm"]
