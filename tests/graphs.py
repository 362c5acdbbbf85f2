"""Look into ONNX graphs, and run them as they are."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from packaging.version import Version

# They compute the same with other operators, and other sides become constants.
newest_exporter = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.14"),
    reason="older exporters of torch make other graphs of this",
)

# Operators that onnxruntime runs on the CPU in a CUDA session, or that read values
# there to decide how to go on.
ON_THE_CPU = {"Shape", "Size", "NonZero", "If", "Loop", "Scan", "Range", "Unique"}


def kinds(model: onnx.ModelProto) -> Counter[str]:
    """Count the nodes of each operator."""
    return Counter(node.op_type for node in model.graph.node)


def run(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Run a graph on the CPU."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": images})[0]
