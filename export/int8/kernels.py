"""Find the layers that onnxruntime computes in float32, whatever the graph asks for."""

import tempfile
from pathlib import Path

import onnx
import onnxruntime

# Layers with weights in float32, as onnxruntime's optimised graphs name them.
FLOAT_LAYERS = (
    "Conv",
    "ConvTranspose",
    "DeformConv",
    "Einsum",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "GRU",
    "Gemm",
    "LSTM",
    "MatMul",
    "RNN",
)


def without_kernel(content: bytes) -> list[str]:
    """Name the layers that onnxruntime computes in float32 on a CPU.

    Args:
        content: Bytes of an int8 file.

    Returns:
        "NAME (OPERATOR)" for each, in the order in which they run.
    """
    options = onnxruntime.SessionOptions()
    # Beyond this level nodes get other names, and other memory layouts.
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = level
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimised.onnx")
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        nodes = onnx.load_model(path).graph.node
    return [
        f"{node.name} ({node.op_type})"
        for node in nodes
        if node.op_type in FLOAT_LAYERS
    ]
