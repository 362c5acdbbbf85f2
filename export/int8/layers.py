"""The layers of a graph: what can stay in float32, and what that costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import INPUT

PRODUCTS = ("Conv", "Gemm", "MatMul")
FOLLOWERS = ("Relu", "Clip")  # onnxruntime computes them with what is before them
SUMS = "the sums of branches"


@dataclass(frozen=True)
class Layer:
    """Nodes that compute in float32 together, or in integers.

    Attributes:
        name: Name of the product, or "the sums of branches".
        nodes: Names of its nodes, with the bias and the activation after it.
        multiply_adds: Products that it adds up for one image. Sums have none.
    """

    name: str
    nodes: tuple[str, ...]
    multiply_adds: int = 0


def layers_of(
    model: onnx.ModelProto, operators: Sequence[str], image: UInt8Array
) -> list[Layer]:
    """Find the layers of a prepared graph.

    A layer is a product of matrices or a convolution. The sums of two branches are one
    layer together: what flows through all of them stays in float32, or nothing does.

    Args:
        model: The float32 graph, prepared for the quantiser.
        operators: Operators that are quantised.
        image: One image, uint8 (1, H, W, C), to measure the tensors with.

    Returns:
        The layers, in the graph's order.
    """
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in PRODUCTS]
    shapes = _shapes(model, products, image) | weights
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def following(node: onnx.NodeProto) -> Iterator[str]:
        """Name a node, and the bias and the activation that it is computed with."""
        yield node.name
        after = readers.get(node.output[0], [])
        if len(after) == 1 and (
            after[0].op_type in FOLLOWERS
            or (after[0].op_type == "Add" and set(after[0].input) & set(weights))
        ):
            yield from following(after[0])

    layers = [
        Layer(node.name, tuple(following(node)), _multiply_adds(node, shapes))
        for node in products
    ]
    sums = [
        name
        for node in model.graph.node
        if node.op_type == "Add" and "Add" in operators
        if not set(node.input) & set(weights)
        for name in following(node)
    ]
    return [*layers, Layer(SUMS, tuple(sums))] if sums else layers


def strays(
    model: onnx.ModelProto, operators: Sequence[str], layers: Sequence[Layer]
) -> list[str]:
    """Name the additions that belong to no layer.

    They lie between nodes in float32, as the one inside GELU does: 8 bits would cost
    time and cosine there.
    """
    known = set(nodes_of(layers))
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Add" and "Add" in operators and node.name not in known
    ]


def nodes_of(layers: Sequence[Layer]) -> list[str]:
    """Names of all nodes of some layers."""
    return [name for layer in layers for name in layer.nodes]


def share(layers: Sequence[Layer], chosen: Sequence[Layer]) -> float:
    """Multiply-adds of some layers over those of all layers."""
    total = sum(layer.multiply_adds for layer in layers)
    return sum(layer.multiply_adds for layer in chosen) / max(1, total)


def _multiply_adds(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Products that one node adds up: for each result, one for each weight it reads."""
    results, factor = shapes[node.output[0]], shapes[node.input[1]]
    if node.op_type == "Conv":
        each = int(np.prod(factor[1:]))
    elif node.op_type == "Gemm" and any(
        a.name == "transB" and a.i for a in node.attribute
    ):
        each = factor[-1]
    else:
        each = factor[-2]
    return int(np.prod(results) * each)


def _shapes(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], image: UInt8Array
) -> dict[str, tuple[int, ...]]:
    """Shapes of what nodes read and return, for one image."""
    weights = {tensor.name for tensor in model.graph.initializer}
    names = {n for node in nodes for n in (*node.input[:2], *node.output)} - weights
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    shown.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in sorted(names - known)
    )
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = [output.name for output in session.get_outputs()]
    values = session.run(outputs, {INPUT: image})
    return {n: v.shape for n, v in zip(outputs, values, strict=True)}
