"""From an encoder to an ONNX graph that holds nothing of the machine it came from."""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from google.protobuf.message import Message  # type: ignore[import-untyped]
from torch import Tensor, nn

from rkdo_plugin.export.encoder.encoder import Encoder, evaluating
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT
from rkdo_plugin.export.graph.half import HalfCore
from rkdo_plugin.export.graph.shapes import write_known_shapes

OPSET = 18
MAX_IR_VERSION = 10  # the newest that the runtimes in servers read today


def to_graph(encoder: Encoder, *, half: bool = False) -> onnx.ModelProto:
    """Export an encoder to a graph with a dynamic batch, and any image size if it has.

    Args:
        encoder: The encoder.
        half: Compute the backbone in float16.

    Returns:
        A model without metadata: input `image` uint8 (batch, H, W, C), output
        `embedding` float32 (batch, D).

    Raises:
        RuntimeError: Neither of torch's exporters can express the encoder, or its
            Python code looks at pixels to choose what to compute.
    """
    size = encoder.image_size
    # A batch of 2: torch takes a dimension of 0 or 1 in the example for a constant.
    # Sides of their own lengths, where the graph must not take them for equal.
    width = 2 * size if encoder.any_size else size
    example = torch.zeros(2, size, width, encoder.channels, dtype=torch.uint8)
    example = example.to(encoder.mean.device)
    axes = {0: "batch"} | ({1: "height", 2: "width"} if encoder.any_size else {})
    module = HalfCore(encoder) if half else encoder
    with evaluating(module), _plain_pooling(module), warnings.catch_warnings():
        # About torch's own internals and deprecations: nothing a user can act on.
        warnings.simplefilter("ignore")
        try:
            model = _by_dynamo(module, example, axes)
        except torch.onnx.OnnxExporterError as error:
            _require_one_path(error)
            model = _by_tracing(module, example, axes)
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    strip(model)
    if not encoder.any_size:
        write_known_shapes(model)
    return model


@contextlib.contextmanager
def _plain_pooling(module: nn.Module) -> Iterator[None]:
    """Pool contiguous maps: of channels-last ones torch gathers the means by place."""
    hooks = [
        part.register_forward_pre_hook(
            lambda _, maps: tuple(each.contiguous() for each in maps)
        )
        for part in module.modules()
        if isinstance(part, nn.AdaptiveAvgPool2d)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _by_dynamo(
    module: nn.Module, example: Tensor, axes: dict[int, str]
) -> onnx.ModelProto:
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in axes.items()},),
        verbose=False,
    )
    assert program is not None  # None is for dynamo=False only
    return program.model_proto


def _require_one_path(error: Exception) -> None:
    """Refuse what a tracer would follow one way: with other pixels it may go another.

    No comparison of a few images shows what they do not lead to.
    """
    reason, cause = "", error.__cause__ or error.__context__
    while cause is not None:
        if "data-dependent" in str(cause):
            reason = str(cause).strip().partition("\n")[0]
        cause = cause.__cause__ or cause.__context__
    if reason:
        raise RuntimeError(
            "Expected an encoder that computes the same steps for all images but its "
            f"code chooses by values of theirs, which no graph does: {reason}"
        ) from error


def _by_tracing(
    module: nn.Module, example: Tensor, axes: dict[int, str]
) -> onnx.ModelProto:
    """Torch's older exporter: it still converts a few models the newer one fails on."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "traced.onnx"
        torch.onnx.export(
            module,
            (example,),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: axes, OUTPUT: {0: "batch"}},
        )
        return onnx.load_model(file)


def strip(message: Message) -> None:
    """Clear a graph's documentation and metadata: they hold stack traces and paths."""
    for field in ("doc_string", "metadata_props"):
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in [value] if isinstance(value, Message) else value:
                strip(child)
