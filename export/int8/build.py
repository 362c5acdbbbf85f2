"""Build integer graphs, in which some layers may stay in float32."""

import contextlib
import copy
import logging
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.shape_inference import quant_pre_process

PAIR = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Style:
    """How numbers become integers. Weights are signed, with a scale for each channel.

    Attributes:
        operators: Operators that read integers.
        activations: Type of the activations.
        reduce_range: Whether weights have 7 bits instead of 8.
        round_results: Whether these operators return integers, too.
        options: Further options of onnxruntime's quantiser.
    """

    operators: tuple[str, ...]
    activations: QuantType
    reduce_range: bool = False
    round_results: bool = True
    options: dict[str, Any] = field(default_factory=dict)


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold a float32 graph into the form that the quantiser reads."""
    with tempfile.TemporaryDirectory() as folder:
        float32, folded = Path(folder, "float32.onnx"), Path(folder, "folded.onnx")
        onnx.save_model(model, float32)
        with silenced():
            # Symbolic shape inference fails on the uint8 input; onnx's own is enough.
            quant_pre_process(float32, folded, skip_symbolic_shape=True)
        return onnx.load_model(folded)


def quantised(
    model: onnx.ModelProto,
    ranges: TensorsData,
    style: Style,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
) -> onnx.ModelProto:
    """Quantise a graph with ranges that are known.

    The graph gets pairs of QuantizeLinear and DequantizeLinear, which runtimes fuse
    with what is between them.

    Args:
        model: The float32 graph, prepared for the quantiser. It is not changed.
        ranges: Ranges of the tensors.
        style: How activations and weights are quantised.
        only: Names of the nodes to quantise. Empty: all.
        without: Names of the nodes that stay in float32.

    Returns:
        The quantised graph.
    """
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    with silenced():
        quantizer = QDQQuantizer(
            graph,
            per_channel=True,
            reduce_range=style.reduce_range,
            weight_qType=QuantType.QInt8,
            activation_qType=style.activations,
            tensors_range=copy.deepcopy(ranges),
            nodes_to_quantize=list(only),
            nodes_to_exclude=list(without),
            op_types_to_quantize=list(style.operators),
            extra_options=style.options,
        )
        quantizer.quantize_model()
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    return made


def mixed(
    model: onnx.ModelProto,
    ranges: TensorsData,
    style: Style,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
) -> onnx.ModelProto:
    """Quantise a graph, and let nodes in float32 read each other's results unrounded.

    The quantiser lets all readers of a tensor read its 8 bits, even those that compute
    in float32. What flows through the sums of a residual network would be rounded at
    every block. `quantised` describes the arguments.
    """
    made = quantised(model, ranges, style, only=only, without=without)
    integers = {
        node.name
        for node in made.graph.node
        if node.op_type in style.operators
        and node.name not in without
        and (not only or node.name in only)
    }
    rounded = integers if style.round_results else set()
    made_by = {name: node for node in made.graph.node for name in node.output}
    for node in made.graph.node:
        if node.name in integers or node.op_type in PAIR:
            continue
        for place, name in enumerate(node.input):
            second = made_by.get(name)
            if second is None or second.op_type != "DequantizeLinear":
                continue
            first = made_by.get(second.input[0])
            if first is None:
                continue  # weights, which have no QuantizeLinear
            source = made_by.get(first.input[0])
            if source is not None and source.name not in rounded:
                node.input[place] = first.input[0]
    _drop_unread(made)
    return made


def _drop_unread(model: onnx.ModelProto) -> None:
    """Remove nodes whose results nothing reads, and weights that only they read."""
    outputs = {output.name for output in model.graph.output}
    while True:
        read = outputs | {name for node in model.graph.node for name in node.input}
        unread = [node for node in model.graph.node if not read & set(node.output)]
        if not unread:
            break
        for node in unread:
            model.graph.node.remove(node)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    if len(kept) < len(model.graph.initializer):
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep onnxruntime's quantiser from advising what is done already."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
