"""Refuse files whose sums of 8-bit products this CPU would cut."""

import re
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

CPU = Path("/proc/cpuinfo")
SEVEN_BITS = 64  # the largest magnitude of a weight of 7 bits


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


def require_exact_sums(content: bytes) -> None:
    """Refuse a file that this CPU would compute wrong, without an error.

    The graph itself tells, so files of all ages are refused.

    Args:
        content: Bytes of an ONNX file.

    Raises:
        ValueError: Weights have 8 bits, and this CPU has no VNNI.
    """
    if b"QuantizeLinear" not in content and b"Integer" not in content:
        return
    if sums_saturate() and has_eight_bits(onnx.load_model_from_string(content)):
        raise ValueError(
            "Expected integer weights of 7 bits, because this CPU has no VNNI and cuts "
            "larger sums, but got 8 bits: embeddings would be wrong. Make the file on "
            "this kind of CPU, or open it with CPUSettings(optimize=False), which is "
            "exact and slow"
        )


def has_eight_bits(model: onnx.ModelProto) -> bool:
    """Find out if a graph has signed weights of 8 bits.

    Weights that stand in float32 before a QuantizeLinear count: they get 8 bits.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    rounded = (
        node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"
    )
    if any(name in tensors and len(tensors[name].dims) > 1 for name in rounded):
        return True
    return any(
        tensor.data_type == onnx.TensorProto.INT8
        and len(tensor.dims) > 1
        and int(np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max(initial=0))
        > SEVEN_BITS
        for tensor in tensors.values()
    )
