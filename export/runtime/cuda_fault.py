"""Find out why PyTorch computes nothing on a GPU."""

import torch


def cuda_fault() -> str | None:
    """Let PyTorch add two numbers on the first GPU.

    `torch.cuda.is_available` is true for a GPU that this build of PyTorch has no
    kernels for, and where it is false it does not say why.

    Returns:
        PyTorch's reason, in one sentence without its advice: it was built without
        CUDA, there is no driver, the driver is too old, or there is no GPU. None if it
        computes.
    """
    try:
        found = torch.ones(1, device="cuda").add(1).item()
    except (AssertionError, RuntimeError) as error:  # the first: built without CUDA
        text = str(error).strip() or type(error).__name__
        return text.splitlines()[0].split(". ")[0].rstrip(".")
    return None if found == 2 else f"the GPU computed 1 + 1 = {found}"
