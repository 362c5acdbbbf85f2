"""Run on images where they are: DLPack shares memory, and onnxruntime binds it."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from rkdo_plugin.export.file.metadata import INPUT, OUTPUT

DTYPES = {torch.uint8: np.uint8, torch.float32: np.float32}


class SupportsDLPack(Protocol):
    """Any object whose memory can be shared by DLPack."""

    def __dlpack__(self) -> Any:
        """Return a capsule with the address, the shape and the type."""

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Return kind and number of the device."""


def require_at_hand(images: SupportsDLPack, device: str) -> Tensor:
    """Return a tensor that shares the images' memory.

    Args:
        images: The images that the user passed.
        device: Where the session computes, as torch names it.

    Raises:
        TypeError: The images have no `__dlpack__`.
        ValueError: The images are on another device, or are not contiguous.
    """
    if not hasattr(images, "__dlpack__"):
        raise TypeError(
            "Expected `images` to have `__dlpack__`, as tensors of torch and arrays of "
            f"CuPy do, but got {type(images).__name__}"
        )
    tensor = images if isinstance(images, Tensor) else from_dlpack(images)
    if tensor.device != torch.device(device):
        raise ValueError(
            f"Expected `images` to be on {device}, where this session computes, but "
            f"got {tensor.device}; move them there, or pass a numpy array to `embed`"
        )
    if not tensor.is_contiguous():
        raise ValueError(
            "Expected `images` to be contiguous but got strides "
            f"{tensor.stride()} for shape {tuple(tensor.shape)}; pass "
            "images.contiguous(), which copies them"
        )
    return tensor


def run_in_place(session: Any, images: Tensor, embeddings: Tensor) -> None:
    """Let onnxruntime read one tensor and write into another.

    Args:
        session: onnxruntime's session.
        images: uint8 (B, H, W, C), contiguous, on the session's device.
        embeddings: float32 (B, D), contiguous, on the session's device. It is filled.
    """
    wait_for_torch(images.device)
    session.run_with_iobinding(bind_in_place(session, images, embeddings))


def bind_in_place(session: Any, images: Tensor, embeddings: Tensor) -> Any:
    """Bind the memory of the tensors of `run_in_place` to a run of onnxruntime."""
    binding = session.io_binding()
    device = (images.device.type, images.device.index or 0)
    for bind, name, tensor in (
        (binding.bind_input, INPUT, images),
        (binding.bind_output, OUTPUT, embeddings),
    ):
        # The tensor's own type and shape: with the graph's, onnxruntime would write
        # past the end of a tensor that is too small.
        dtype = DTYPES[tensor.dtype]
        bind(name, *device, dtype, list(tensor.shape), tensor.data_ptr())
    return binding


def wait_for_torch(device: torch.device) -> None:
    """Wait until torch's work on a device is done; onnxruntime's stream does not."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
