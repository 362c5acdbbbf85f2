"""Write known shapes into a graph, so that no node has to compute them."""

from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rkdo_plugin.export.file.metadata import INPUT

# Each size is a number, or the exporter's name of an open size, such as "batch" or
# "2*batch". None is an open size without a name.
Shapes = dict[str, list[int | str | None]]
FLOATS: dict[int | None, type[np.floating]] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
}
LARGE = 1024  # bytes; a larger tensor is not a shape
BROADCASTING = ("Add", "Div", "Mul", "Sub")


def write_known_shapes(model: onnx.ModelProto) -> None:
    """Replace computed shapes by constants wherever only the batch is open.

    Shape nodes run on the CPU. A session on a GPU that may not use the CPU does not
    load a graph with a Shape node. All images have one size, so only the batch size is
    unknown, and no node has to compute it:

    * Reshape can derive the batch size from the number of elements.
    * Arithmetic expands its operands by itself, so an Expand before it is not needed.
    * Other repetitions over the batch become additions of zeros of that batch size.

    Batches are at least 1. A runtime can fuse more nodes of the new graph, so the last
    bits of results may differ.

    Args:
        model: A graph from `to_graph`, changed in place. Nodes that fit none of these
            cases stay.
    """
    graph = model.graph
    shapes, kinds = _inferred(model)
    constants = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        computed = len(node.input) > 1 and node.input[1] not in constants
        if computed and node.op_type == "Reshape":
            _give_constant_shape(node, shapes, graph)
        elif computed and _is_needless(node, readers[node.output[0]], shapes):
            for reader in readers[node.output[0]]:
                place = list(reader.input).index(node.output[0])
                reader.input[place] = node.input[0]
            # `_used` removes this node, unless the graph returns its output.
        elif computed and node.op_type in ("Expand", "Tile"):
            kept += _addition_of_zeros(node, shapes, kinds, graph)
            continue
        kept.append(node)
    del graph.node[:]
    graph.node.extend(_used(kept, {output.name for output in graph.output}))
    used = {name for node in graph.node for name in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.value_info[:]  # a part of it describes nodes that are gone


def _inferred(model: onnx.ModelProto) -> tuple[Shapes, dict[str, int]]:
    """Infer the shape and the type of every value."""
    # Weights are taken out meanwhile: the inference does not read them, and a message
    # of protobuf cannot hold 2 GB.
    large = [tensor for tensor in model.graph.initializer if tensor.ByteSize() > LARGE]
    weights = [tensor.raw_data for tensor in large]
    for tensor in large:
        tensor.ClearField("raw_data")
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    for tensor, weight in zip(large, weights, strict=True):
        tensor.raw_data = weight
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    shapes: Shapes = {t.name: list(t.dims) for t in model.graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            kinds[value.name] = value.type.tensor_type.elem_type
            shapes[value.name] = [
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
                for dim in value.type.tensor_type.shape.dim
            ]
    return shapes, kinds


def _give_constant_shape(
    node: onnx.NodeProto, shapes: Shapes, graph: onnx.GraphProto
) -> None:
    shape = shapes.get(node.output[0])
    # Reshape would take a length of 0 for "as in the input".
    if shape is not None and _open(shape) <= 1 and 0 not in shape:
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        node.input[1] = _constant(f"{node.output[0]}/shape", sizes, graph)


def _is_needless(
    node: onnx.NodeProto, readers: list[onnx.NodeProto], shapes: Shapes
) -> bool:
    """Find out if every reader expands the value by itself, to its other operand."""
    shape = shapes.get(node.output[0])
    return (
        node.op_type == "Expand"
        and shape is not None
        and None not in shape
        and bool(readers)
        and all(
            reader.op_type in BROADCASTING
            and shape
            in [shapes.get(name) for name in reader.input if name != node.output[0]]
            for reader in readers
        )
    )


def _addition_of_zeros(
    node: onnx.NodeProto, shapes: Shapes, kinds: dict[str, int], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """Replace a node that repeats one value over the batch, if that is possible."""
    once, output = node.input[0], node.output[0]
    shape, kind = shapes.get(output), kinds.get(once)
    if (
        shape is None
        or shapes.get(once) != [1, *shape[1:]]
        or shape[:1] != shapes[INPUT][:1]
        or _open(shape) > 1
        or kind not in FLOATS
    ):
        return [node]
    # Exporters put no slash into names, so these are free.
    pixel, flat, number, zero = (
        f"{output}/{part}" for part in ("pixel", "flat", "number", "zero")
    )
    starts, ends = (_constant(f"{output}/{i}", [i] * 3, graph) for i in (0, 1))
    axes = _constant(f"{output}/axes", [1, 2, 3], graph)
    sizes = _constant(f"{output}/sizes", [-1] + [1] * (len(shape) - 1), graph)
    nothing = f"{output}/nothing"
    graph.initializer.append(numpy_helper.from_array(FLOATS[kind](0), nothing))
    return [
        # The first pixel of each image is uint8 and finite, so its product with 0 is 0.
        helper.make_node("Slice", [INPUT, starts, ends, axes], [pixel]),
        helper.make_node("Reshape", [pixel, sizes], [flat]),
        helper.make_node("Cast", [flat], [number], to=kind),
        helper.make_node("Mul", [number, nothing], [zero]),
        helper.make_node("Add", [once, zero], [output]),
    ]


def _open(shape: list[int | str | None]) -> int:
    return sum(not isinstance(size, int) for size in shape)


def _constant(name: str, values: list[int], graph: onnx.GraphProto) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def _used(nodes: list[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that a wanted value depends on, in their order."""
    kept = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted = wanted.union(node.input)
    return kept[::-1]
