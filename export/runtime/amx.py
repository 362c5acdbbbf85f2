"""Let AMX, Intel's unit for 8-bit products, compute integer convolutions."""

import contextlib
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

# Earlier versions of onnxruntime compute some sums of products wrong with AMX, for
# example sums of 257 products.
FIRST_RIGHT = (1, 25)
# From this many products for each result on, AMX is faster. The time to lay out its
# operands is included.
MIN_PRODUCTS = 256


def has_amx() -> bool:
    """Find out if Linux reports AMX and onnxruntime computes correctly with it."""
    version = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
    with contextlib.suppress(OSError):
        return (
            version >= FIRST_RIGHT and "amx_int8" in Path("/proc/cpuinfo").read_text()
        )
    return False


def for_amx(content: bytes) -> bytes:
    """Rewrite a graph's integer convolutions so that AMX computes them.

        scale (w - zero) = scale ((w - 1) - (zero - 1))

    onnxruntime has a kernel for convolutions whose weights have the zero point 0, and
    it does not use AMX. All other convolutions run as matrix products, which use AMX.
    Sums of products are exact there, so no bit of a result changes. Without AMX the
    rewritten graph is slower. Therefore a session rewrites the graph when it loads the
    file, and the file itself is not changed.

    Args:
        content: Bytes of an ONNX file.

    Returns:
        The file with symmetric weights of convolutions, and their zero points, lowered
        by one. Only convolutions that become faster are rewritten: those of one group
        with at least 256 products for each result.
    """
    if b"DequantizeLinear" not in content:
        return content
    model = onnx.load_model_from_string(content)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    reads = Counter(name for node in model.graph.node for name in node.input)
    for node in model.graph.node:
        if node.op_type != "Conv" or _groups(node) != 1:
            continue
        scaled = made_by.get(node.input[1])
        if scaled is None or scaled.op_type != "DequantizeLinear":
            continue
        weights, _, *zero = scaled.input
        names = [weights, *zero]
        if zero and all(name in tensors and reads[name] == 1 for name in names):
            _lower(*(tensors[name] for name in names))
    lowered: bytes = model.SerializeToString()
    return lowered


def _groups(node: onnx.NodeProto) -> int:
    return next((int(each.i) for each in node.attribute if each.name == "group"), 1)


def _lower(weights: onnx.TensorProto, zero: onnx.TensorProto) -> None:
    """Subtract 1 from symmetric weights and from their zero point."""
    values, zeros = numpy_helper.to_array(weights), numpy_helper.to_array(zero)
    symmetric = values.dtype == np.int8 and values.min() > -128 and not zeros.any()
    if symmetric and values[0].size >= MIN_PRODUCTS:
        for tensor, array in ((weights, values), (zero, zeros)):
            tensor.CopyFrom(numpy_helper.from_array(array - np.int8(1), tensor.name))
