"""Write the shapes that are known into a graph, so that nothing computes them."""

from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rkdo_plugin.export.file.metadata import INPUT

# A size that is open has the exporter's name, such as "batch" or "2*batch", or none.
Shapes = dict[str, list[int | str | None]]
FLOATS: dict[int | None, type[np.floating]] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.FLOAT16: np.float16,
}
LARGE = 1024  # bytes of a tensor that is no shape
BROADCASTING = ("Add", "Div", "Mul", "Sub")


def write_known_shapes(model: onnx.ModelProto) -> None:
    """Replace computed shapes by constants wherever only the batch is open.

    Images have one size, so every shape is known but for the batch: Reshape can take
    it from the number of elements, arithmetic expands its operands itself, and other
    repetitions over the batch are additions of zeros that have it. A Shape node left
    over runs on the CPU, and a session that may not use the CPU beside a GPU does not
    load the graph. Batches are at least 1. A runtime sees more to fuse in the new
    graph, so the last bits may differ.

    Args:
        model: A graph from `to_graph`, changed in place. What does not fit stays.
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
            # Left to `_used`: it stays if the graph returns it.
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
    del graph.value_info[:]  # some of it describes nodes that are gone


def _inferred(model: onnx.ModelProto) -> tuple[Shapes, dict[str, int]]:
    """Shape and type of every value."""
    # Weights apart: the inference reads none, and no message holds 2 GB of them.
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
    # A length of 0 would mean "as in the input" to Reshape.
    if shape is not None and _open(shape) <= 1 and 0 not in shape:
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        node.input[1] = _constant(f"{node.output[0]}/shape", sizes, graph)


def _is_needless(
    node: onnx.NodeProto, readers: list[onnx.NodeProto], shapes: Shapes
) -> bool:
    """Whether all readers would expand the value anyway, to their other operand."""
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
    """Nodes that repeat one value over the batch; the old node where they cannot."""
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
    # Exporters put no slash into a name, so that none of these is taken.
    pixel, flat, number, zero = (
        f"{output}/{part}" for part in ("pixel", "flat", "number", "zero")
    )
    starts, ends = (_constant(f"{output}/{i}", [i] * 3, graph) for i in (0, 1))
    axes = _constant(f"{output}/axes", [1, 2, 3], graph)
    sizes = _constant(f"{output}/sizes", [-1] + [1] * (len(shape) - 1), graph)
    nothing = f"{output}/nothing"
    graph.initializer.append(numpy_helper.from_array(FLOATS[kind](0), nothing))
    return [
        # The first pixel of each image: uint8, so that times 0 is 0 for all of them.
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
    """The nodes that a wanted value depends on, in their order."""
    kept = []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.output):
            kept.append(node)
            wanted = wanted.union(node.input)
    return kept[::-1]
