"""Integer convolutions where a processor has AMX, Intel's unit for 8-bit products."""

import contextlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

# Products a result from which on AMX is faster, laying out its operands included.
MIN_PRODUCTS = 256


def has_amx() -> bool:
    """Whether Linux says that the processor has AMX; elsewhere onnxruntime has not."""
    with contextlib.suppress(OSError):
        return "amx_int8" in Path("/proc/cpuinfo").read_text()
    return False


def for_amx(content: bytes) -> bytes:
    """Have AMX compute a graph's integer convolutions. Not a bit of a result changes.

        scale (w - zero) = scale ((w - 1) - (zero - 1))

    onnxruntime runs convolutions whose weights have the zero point 0 by a kernel that
    does not know AMX, and all others as matrix products, which do: up to twice as fast.
    Without AMX that is slower, so a session does it, and the file keeps its zeros.

    Args:
        content: An ONNX file.

    Returns:
        The file, with the symmetric weights of convolutions and their zero points one
        lower where that is faster: from 256 products a result on.
    """
    if b"DequantizeLinear" not in content:
        return content
    model = onnx.load_model_from_string(content)
    readers = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or len(node.input) != 3:
            continue
        weight, zero = tensors.get(node.input[0]), tensors.get(node.input[2])
        if (
            weight is not None
            and zero is not None
            and len(readers[weight.name]) == len(readers[zero.name]) == 1
            and all(_multiplies(reader, node) for reader in readers[node.output[0]])
        ):
            _lower(weight, zero)
    lowered: bytes = model.SerializeToString()
    return lowered


def _multiplies(node: onnx.NodeProto, weight: onnx.NodeProto) -> bool:
    """Whether a node is a convolution with one group and these weights."""
    groups = [each.i for each in node.attribute if each.name == "group"]
    return (
        node.op_type == "Conv"
        and node.input[1] == weight.output[0]
        and groups in ([], [1])
    )


def _lower(*tensors: onnx.TensorProto) -> None:
    values = [numpy_helper.to_array(tensor) for tensor in tensors]
    weights, zero = values
    if weights.dtype != np.int8 or weights[0].size < MIN_PRODUCTS:
        return
    if zero.any() or weights.min() == -128:  # not symmetric
        return
    for tensor, value in zip(tensors, values, strict=True):
        tensor.CopyFrom(numpy_helper.from_array(value - np.int8(1), tensor.name))
