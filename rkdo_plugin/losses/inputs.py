"""What every criterion checks before it computes: its embeddings."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightly.utils import dist
from torch import Tensor
from torch import distributed as torch_dist

from rkdo_plugin.factors import working_dtype
from rkdo_plugin.options import check_flags, check_pair, check_type, holds_integers
from rkdo_plugin.supervision.comparison import SampleIds, of_all_processes


def check_gather(gather_distributed: bool) -> None:
    """Raise a ValueError if gathering is asked for without torch.distributed."""
    check_flags(gather_distributed=gather_distributed)
    if gather_distributed and not torch_dist.is_available():
        raise ValueError(
            "Expected torch.distributed, which `gather_distributed=True` needs, "
            "but this build of torch has none"
        )


def check_sample_ids(sample_ids: SampleIds | None, rows: int) -> None:
    """Raise a ValueError unless there are two vectors of integers, one for each row."""
    if sample_ids is None:
        return
    words = "two vectors of integers, of the first and of the second view,"
    check_pair("sample_ids", sample_ids, words)
    for number, ids in enumerate(sample_ids):
        check_type(f"sample_ids[{number}]", ids, Tensor)
        if ids.shape != (rows,) or not holds_integers(ids):
            raise ValueError(
                f"Expected `sample_ids` to hold two vectors of {rows} integers but got "
                f"one of shape {tuple(ids.shape)} and {ids.dtype}"
            )


def check_everywhere(z: Tensor) -> None:
    """Raise a ValueError, in every process, unless all have one shape (B, D).

    Gloo would end a process that receives another number of rows, and NCCL would wait.
    """
    own = torch.tensor([[*z.shape, z.dtype.itemsize]], device=z.device)
    every = of_all_processes(own)
    if (every != own).any():
        got = ", ".join(f"({b}, {d}) of {8 * n} bits" for b, d, n in every.tolist())
        raise ValueError(
            "Expected embeddings of one shape (B, D) in all processes with "
            f"`gather_distributed=True` but got {got}; leave out a last batch that "
            "is smaller, with drop_last=True"
        )


@contextmanager
def full_precision(
    z0: Tensor, z1: Tensor | None, gather_distributed: bool = False
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Embeddings, checked, in float32 or wider with autocast off.

    Args:
        z0: (B, D), any floating dtype.
        z1: (B, D) or (C, D), any floating dtype, or none.
        gather_distributed: Whether those of all processes are compared.

    Raises:
        TypeError: An argument is no tensor, or not of a floating dtype.
        ValueError: An argument is not a matrix, the sizes D differ, or the shapes of
            processes that are compared.
    """
    given = {"z0": z0} if z1 is None else {"z0": z0, "z1": z1}
    for name, z in given.items():
        if not isinstance(z, Tensor) or z.layout is not torch.strided:
            raise TypeError(
                f"Expected `{name}` to be a tensor (B, D) but got "
                + (str(z.layout) if isinstance(z, Tensor) else type(z).__name__)
            )
        if not z.is_floating_point():
            raise TypeError(
                f"Expected `{name}` to be of a floating dtype but got {z.dtype}"
            )
        if z.ndim != 2 or z.shape[1] == 0:
            raise ValueError(
                f"Expected `{name}` to have shape (B, D) but got {tuple(z.shape)}"
            )
    if z1 is not None and z0.shape[1] != z1.shape[1]:
        raise ValueError(
            "Expected `z0` and `z1` to have one shape (B, D) but got "
            f"{tuple(z0.shape)} and {tuple(z1.shape)}"
        )
    dtype = working_dtype(*given.values())
    with torch.autocast(z0.device.type, enabled=False):
        z0, z1 = z0.to(dtype), None if z1 is None else z1.to(dtype)
        if gather_distributed and dist.world_size() > 1:
            check_everywhere(z0)
        yield z0, z1


def one_or_nan(*embeddings: Tensor | None) -> Tensor | float:
    """1 where all embeddings are finite, or else NaN.

    A factor of every loss: an infinite logit, for one, has the probability 0, and
    without this factor could leave a plausible number.
    """
    # 0 times a finite number is 0.
    zeros = (z.detach().mul(0).sum() for z in embeddings if z is not None)
    return 1 + sum(zeros)
