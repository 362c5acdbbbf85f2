"""Weights in a file beside the graph, which ONNX needs from 2 GB on."""

import hashlib
from collections.abc import Iterable, Iterator

import onnx
from onnx import TensorProto

MIN_BYTES = 1024  # smaller tensors stay in the graph
ALIGNMENT = 4096  # tensors start at multiples of it, so runtimes can map them to memory


def move_weights_out(model: onnx.ModelProto, name: str) -> tuple[str, bytes]:
    """Take the weights out of a model; afterwards the model refers to their file.

    Args:
        model: The model, changed in place.
        name: The model's file name.

    Returns:
        Name and bytes of the weights' file. The name contains the checksum of the
        bytes. So newer weights never replace weights that an older model refers to.
    """
    content = bytearray()
    moved: list[tuple[TensorProto, int, int]] = []
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= MIN_BYTES:
            content += bytes(-len(content) % ALIGNMENT)
            moved.append((tensor, len(content), len(tensor.raw_data)))
            content += tensor.raw_data
            tensor.ClearField("raw_data")
    location = f"{name}.{hashlib.sha256(content).hexdigest()[:12]}.data"
    for tensor, offset, length in moved:
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {
            "location": location,
            "offset": offset,
            "length": length,
        }.items():
            tensor.external_data.add(key=key, value=str(value))
    return location, bytes(content)


def locations(model: onnx.ModelProto) -> set[str]:
    """Return the names of all files that a model's tensors refer to.

    Tensors are found wherever they are: in the graph, in attributes, in subgraphs and
    in functions.
    """
    return {
        entry.value
        for tensor in _tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from _in_graph(model.graph)
    for function in model.functions:
        yield from _in_nodes(function.node)


def _in_graph(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _in_nodes(graph.node)


def _in_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _in_graph(graph)
