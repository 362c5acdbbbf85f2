"""The tensors of a request: images, or image files."""

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from kserve import InferInput, InferRequest
from kserve.errors import InvalidInput

from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.metadata import INPUT, OUTPUT

ENCODED = "encoded"
DATATYPES = {INPUT: "UINT8", ENCODED: "BYTES"}
SHAPES = {INPUT: "(B, H, W, C)", ENCODED: "(B)"}
DIMENSIONS = {INPUT: 4, ENCODED: 1}


def only_input(request: InferRequest) -> InferInput:
    """The one tensor of a request, of the type and number of dimensions of its name.

    Raises:
        InvalidInput: The request has other inputs, or asks for other outputs.
    """
    names = [tensor.name for tensor in request.inputs]
    if len(names) != 1 or names[0] not in DATATYPES:
        raise InvalidInput(
            f"Expected one input, `{INPUT}` or `{ENCODED}`, but got {_listed(names)}"
        )
    outputs = [output.name for output in request.request_outputs or []]
    if outputs not in ([], [OUTPUT]):
        raise InvalidInput(f"Expected the output `{OUTPUT}` but got {_listed(outputs)}")
    (tensor,) = request.inputs
    if tensor.datatype != DATATYPES[tensor.name]:
        raise InvalidInput(
            f"Expected `{tensor.name}` to be {DATATYPES[tensor.name]} but got "
            f"{tensor.datatype[:50]}"
        )
    sizes, dimensions = tensor.shape, DIMENSIONS[tensor.name]
    if len(sizes) != dimensions or not all(1 <= size < 2**31 for size in sizes):
        raise InvalidInput(
            f"Expected the shape of `{tensor.name}` to be {SHAPES[tensor.name]}, each "
            f"at least 1, but got {str(sizes[:8])[:100]}"
        )
    return tensor


def images_of(tensor: InferInput) -> UInt8Array:
    """Images, uint8 (B, H, W, C), of the shape that the request states.

    Raises:
        InvalidInput: The data does not fit the shape, or is not from 0 to 255.
    """
    count = math.prod(tensor.shape)
    raw = tensor._raw_data
    if raw is not None:
        if len(raw) != count:
            raise InvalidInput(
                f"Expected {count} bytes, as the shape is {tensor.shape}, but got "
                f"{len(raw)}"
            )
        stored: UInt8Array = np.frombuffer(raw, dtype=np.uint8).reshape(tensor.shape)
        return stored
    try:
        values = np.asarray(tensor.data, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise InvalidInput(f"Expected `{INPUT}` to hold integers alone") from None
    if values.size != count:
        raise InvalidInput(
            f"Expected {count} values, as the shape is {tensor.shape}, but got "
            f"{values.size}"
        )
    pixels: npt.NDArray[np.float64] = values.reshape(tensor.shape)
    if not ((pixels >= 0) & (pixels <= 255) & (pixels == np.rint(pixels))).all():
        raise InvalidInput(f"Expected `{INPUT}` to hold integers from 0 to 255")
    return pixels.astype(np.uint8)


def files_of(tensor: InferInput) -> list[bytes]:
    """The bytes of B image files.

    Raises:
        InvalidInput: The data does not hold B elements, or is JSON.
    """
    (count,) = tensor.shape
    raw = tensor._raw_data
    if raw is None:
        elements: list[Any] = tensor.data
        if not all(isinstance(element, bytes) for element in elements):
            raise InvalidInput(
                f"Expected `{ENCODED}` as binary data, which JSON cannot hold"
            )
    else:
        elements = []
        start = 0
        while start + 4 <= len(raw) and len(elements) < count:
            (length,) = struct.unpack_from("<I", raw, start)
            elements.append(bytes(raw[start + 4 : start + 4 + length]))
            start += 4 + length
        if start != len(raw):
            raise InvalidInput(
                f"Expected {len(raw)} bytes to hold {count} elements, each behind its "
                f"length, but {len(elements)} end at byte {start}"
            )
    if len(elements) != count:
        raise InvalidInput(f"Expected {count} elements but got {len(elements)}")
    return elements


def _listed(names: list[str]) -> str:
    shown = [name[:50] for name in names[:3]]
    return f"{shown}{' and more' if len(names) > 3 else ''}"
