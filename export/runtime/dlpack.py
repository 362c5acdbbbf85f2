"""Images and embeddings that stay on their device, by DLPack and bound memory."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from rkdo_plugin.export.file.metadata import INPUT, OUTPUT

DTYPES = {torch.uint8: np.uint8, torch.float32: np.float32}


class SupportsDLPack(Protocol):
    """Anything whose memory can be shared as DLPack describes it."""

    def __dlpack__(self) -> Any:
        """A capsule with the address, the shape and the type."""

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Kind and number of the device."""


def require_at_hand(images: SupportsDLPack, device: str) -> Tensor:
    """A tensor that shares the images' memory, which is on a device in one block.

    Args:
        images: What the user passed.
        device: Where the session computes, as torch names it.

    Raises:
        TypeError: The images do not speak DLPack.
        ValueError: They are on another device, or are not contiguous.
    """
    if not hasattr(images, "__dlpack__"):
        raise TypeError(
            "Expected argument `images` to have `__dlpack__`, as tensors of torch and "
            f"arrays of CuPy have, but got {type(images).__name__}"
        )
    tensor = images if isinstance(images, Tensor) else from_dlpack(images)
    if tensor.device != torch.device(device):
        raise ValueError(
            f"Expected argument `images` on {device}, where this session computes, but "
            f"got {tensor.device}; move them there, or pass a numpy array to `embed`"
        )
    if not tensor.is_contiguous():
        raise ValueError(
            "Expected argument `images` to be contiguous but got strides "
            f"{tensor.stride()} for shape {tuple(tensor.shape)}; pass "
            "images.contiguous(), which copies them"
        )
    return tensor


def run_in_place(session: Any, images: Tensor, embeddings: Tensor) -> None:
    """Let onnxruntime read one tensor and write into another.

    Args:
        session: onnxruntime's session.
        images: uint8 (B, H, W, C), contiguous, on the session's device.
        embeddings: float32 (B, D), likewise; filled.
    """
    wait_for_torch(images.device)
    session.run_with_iobinding(bind_in_place(session, images, embeddings))


def bind_in_place(session: Any, images: Tensor, embeddings: Tensor) -> Any:
    """The addresses of two tensors, as `run_in_place` takes them, for onnxruntime."""
    binding = session.io_binding()
    device = (images.device.type, images.device.index or 0)
    for bind, name, tensor in (
        (binding.bind_input, INPUT, images),
        (binding.bind_output, OUTPUT, embeddings),
    ):
        # Of the tensor, not of the graph: a wrong one would be written past its end.
        dtype = DTYPES[tensor.dtype]
        bind(name, *device, dtype, list(tensor.shape), tensor.data_ptr())
    return binding


def wait_for_torch(device: torch.device) -> None:
    """Wait for torch's work on a device: onnxruntime's own stream would not."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
