"""Export an encoder to an ONNX graph without traces of the machine."""

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
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT
from rkdo_plugin.export.graph.half import HalfCore
from rkdo_plugin.export.graph.shapes import write_known_shapes

OPSET = 18
MAX_IR_VERSION = 10  # the newest version that the runtimes in servers read today


def to_graph(encoder: Encoder, *, half: bool = False) -> onnx.ModelProto:
    """Export an encoder to a graph whose batch size is open.

    If the encoder accepts images of any size, height and width are open, too.

    Args:
        encoder: The encoder.
        half: Compute the backbone in float16.

    Returns:
        A model without metadata: input `image` uint8 (batch, H, W, C), output
        `embedding` float32 (batch, D).

    Raises:
        RuntimeError: Neither of torch's exporters can express the encoder, or its
            Python code reads pixel values to choose what to compute.
    """
    height, width = sides(encoder.image_size)
    # The example has a batch of 2, because torch takes a dimension of 0 or 1 for a
    # constant. Open sides differ in the example, or torch would take them for equal.
    width = 2 * width if encoder.any_size else width
    example = torch.zeros(2, height, width, encoder.channels, dtype=torch.uint8)
    example = example.to(encoder.mean.device)
    axes = {0: "batch"} | ({1: "height", 2: "width"} if encoder.any_size else {})
    module = HalfCore(encoder) if half else encoder
    with evaluating(module), _plain_pooling(module), warnings.catch_warnings():
        # They are about torch's internals and deprecations; a user can do nothing.
        warnings.simplefilter("ignore")
        if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
            # A TorchScript module has no Python code for the newer exporter to read.
            traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
            model = _by_tracing(traced, example, axes)
        else:
            model = _by_either(module, example, axes)
    model.ir_version = min(model.ir_version, MAX_IR_VERSION)
    strip(model)
    if not encoder.any_size:
        write_known_shapes(model)
    return model


def _by_either(
    module: nn.Module, example: Tensor, axes: dict[int, str]
) -> onnx.ModelProto:
    try:
        return _by_dynamo(module, example, axes)
    except torch.onnx.OnnxExporterError as error:
        _require_one_path(error)
        return _by_tracing(module, example, axes)


@contextlib.contextmanager
def _plain_pooling(module: nn.Module) -> Iterator[None]:
    """Make feature maps contiguous before they are pooled.

    For channels-last maps torch exports a Gather instead of a mean.
    """
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
    assert program is not None  # torch returns None with dynamo=False only
    return program.model_proto


def _require_one_path(error: Exception) -> None:
    """Refuse an encoder whose code branches by pixel values.

    Torch's older exporter traces one branch only. Other images may take another branch,
    and comparing a few images does not show that.
    """
    reason, cause = "", error.__cause__ or error.__context__
    while cause is not None:
        if "data-dependent" in str(cause):
            reason = str(cause).strip().partition("\n")[0]
        cause = cause.__cause__ or cause.__context__
    if reason:
        raise RuntimeError(
            "Expected an encoder that computes the same steps for all images but its "
            f"code branches by their values, which a graph cannot: {reason}"
        ) from error


def _by_tracing(
    module: nn.Module, example: Tensor, axes: dict[int, str]
) -> onnx.ModelProto:
    """Use torch's older exporter, which converts some models the newer one cannot."""
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
    """Clear a graph's documentation and metadata, which hold stack traces and paths."""
    for field in ("doc_string", "metadata_props"):
        if field in message.DESCRIPTOR.fields_by_name:
            message.ClearField(field)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in [value] if isinstance(value, Message) else value:
                strip(child)
