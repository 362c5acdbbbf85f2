"""RKDO's recursion as kernels of Triton: a chunk's rows stay in the GPU's caches.

The operations of recursion.py read or write a chunk about 150 times. These kernels read
it three times, and p_0 twice, and write it once. With w_t = a / tau_{t-1} and

    r_t = log p_t - log s / tau_t
    c_t = (1 - a) c_{t-1} + w_t q_{t-1},    c_0 = 0

the derivative of recursion.py can be summed from t = 1 up, without holding any A_t:

    sum_t (q_t - p_t) / tau_t + r_t c_t - w_t <A_t> q_{t-1}
    <A_t> = sum_{u >= t} (1 - a)^(u - t) sum_j q_{t-1} r_u
"""

import warnings
from collections.abc import Sequence
from functools import cache
from subprocess import SubprocessError

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.errors import TritonError

BLOCK = 1024  # columns at a time
TINY = tl.constexpr(torch.finfo(torch.float32).tiny)


def recurse(
    log_s: Tensor,
    p: Tensor,
    coupling: float,
    temperatures: Sequence[float],
    through_target: bool,
) -> tuple[Tensor, Tensor]:
    """Values (R,) and derivative (R, C) of the recursion, in place of log s.

    Args:
        log_s: (R, C), float32, contiguous.
        p: p_0 (R, C), likewise.
        coupling: a.
        temperatures: tau_0 ... tau_T.
        through_target: Take the gradient through p, too.
    """
    rows, columns = log_s.shape
    depth = len(temperatures) - 1
    # Filled on the device: a copy from the host would wait for the GPU.
    inverse = torch.cat([log_s.new_full((1,), 1 / tau) for tau in temperatures])
    log_z = log_s.new_empty(rows, depth + 1)
    means = log_s.new_empty(rows, depth)
    largest, value = log_s.new_empty(2, rows).unbind()
    known = (log_s, p, inverse, largest, log_z, means)
    options = (columns, float(coupling), depth, through_target, BLOCK)
    with torch.cuda.device_of(log_s):  # type: ignore[no-untyped-call]
        _normalize[(rows,)](log_s, inverse, largest, log_z, columns, depth, BLOCK)
        _sum_up[(rows,)](*known, value, *options)
        _differentiate[(rows,)](*known, *options)
    return value, log_s


@cache
def runs_on(device: torch.device) -> bool:
    """Whether the kernels find there what PyTorch finds; a warning says why not.

    Triton needs a C compiler on this machine, and a GPU that it knows.
    """
    log_s = torch.linspace(-1, 1, 12, device=device).view(3, 4)
    p = torch.eye(3, 4, device=device)
    expected = (log_s / 0.5).log_softmax(dim=1)
    try:
        # Coupling 0 and depth 1 are the cross-entropy at the second temperature.
        value, slope = recurse(log_s.clone(), p, 0, (1, 0.5), False)
        torch.testing.assert_close(value, -expected.diagonal())
        torch.testing.assert_close(slope, (expected.exp() - p) / 0.5)
    except (AssertionError, OSError, RuntimeError, SubprocessError, TritonError) as e:
        warnings.warn(
            f"RKDO's kernels do not run on {device}; PyTorch computes it instead: {e}",
            stacklevel=2,
        )
        return False
    return True


@triton.jit
def _normalize(
    log_s, inverse, largest, log_z, columns, depth: tl.constexpr, block: tl.constexpr
):
    """Log Z_t of a row, for log s less its largest value."""
    row = tl.program_id(0).to(tl.int64)
    log_s += row * columns
    at = tl.arange(0, block)
    top = tl.full((block,), float("-inf"), tl.float32)
    for start in range(0, columns, block):
        inside = start + at < columns
        s = tl.load(log_s + start + at, inside, float("-inf"))
        top = tl.maximum(top, s)
    shift = tl.max(top, 0)
    tl.store(largest + row, shift)
    for t in tl.static_range(depth + 1):
        scale = tl.load(inverse + t)
        total = tl.zeros((block,), tl.float32)
        for start in range(0, columns, block):
            inside = start + at < columns
            s = tl.load(log_s + start + at, inside, float("-inf"))
            total += tl.exp((s - shift) * scale)
        tl.store(log_z + row * (depth + 1) + t, tl.log(tl.sum(total, 0)))


@triton.jit
def _sum_up(
    log_s,
    p_0,
    inverse,
    largest,
    log_z,
    means,
    value,
    columns,
    coupling,
    depth: tl.constexpr,
    through_target: tl.constexpr,
    block: tl.constexpr,
):
    """The value of a row, and <A_t> for each t."""
    row = tl.program_id(0).to(tl.int64)
    log_s += row * columns
    p_0 += row * columns
    log_z += row * (depth + 1)
    at = tl.arange(0, block)
    shift = tl.load(largest + row)
    for t in tl.static_range(1, depth + 1 if through_target else 2):
        divergence = tl.zeros((block,), tl.float32)
        mean = tl.zeros((block,), tl.float32)
        for start in range(0, columns, block):
            inside = start + at < columns
            s = tl.load(log_s + start + at, inside, float("-inf")) - shift
            s = tl.where(inside, s, 0.0)
            p = tl.load(p_0 + start + at, inside, 0.0)
            held = tl.zeros((block,), tl.float32)
            for u in tl.static_range(1, depth + 1):
                before = tl.load(inverse + u - 1)
                q = tl.where(inside, tl.exp(s * before - tl.load(log_z + u - 1)), 0.0)
                p += coupling * (q - p)
                r = tl.log(tl.maximum(p, TINY)) - s * tl.load(inverse + u)
                divergence += p * r
                if u == t:
                    held = q
                else:
                    held *= 1 - coupling
                mean += held * r  # it holds q_{t-1} from u = t on, and 0 before
        if t == 1:
            total = tl.sum(divergence, 0)
            for u in tl.static_range(1, depth + 1):
                total += tl.load(log_z + u)
            tl.store(value + row, total)
        tl.store(means + row * depth + t - 1, tl.sum(mean, 0))


@triton.jit
def _differentiate(
    log_s,
    p_0,
    inverse,
    largest,
    log_z,
    means,
    columns,
    coupling,
    depth: tl.constexpr,
    through_target: tl.constexpr,
    block: tl.constexpr,
):
    """Overwrite log s of a row by the derivative."""
    row = tl.program_id(0).to(tl.int64)
    log_s += row * columns
    p_0 += row * columns
    log_z += row * (depth + 1)
    at = tl.arange(0, block)
    shift = tl.load(largest + row)
    for start in range(0, columns, block):
        inside = start + at < columns
        s = tl.load(log_s + start + at, inside, 0.0) - shift
        p = tl.load(p_0 + start + at, inside, 0.0)
        slope = tl.zeros((block,), tl.float32)
        c = tl.zeros((block,), tl.float32)
        before = tl.load(inverse)
        q = tl.exp(s * before - tl.load(log_z))
        for t in tl.static_range(1, depth + 1):
            scale = tl.load(inverse + t)
            p += coupling * (q - p)
            if through_target:
                c = (1 - coupling) * c + coupling * before * q
                slope -= coupling * before * tl.load(means + row * depth + t - 1) * q
                slope += (tl.log(tl.maximum(p, TINY)) - s * scale) * c
            q = tl.exp(s * scale - tl.load(log_z + t))
            slope += (q - p) * scale
            before = scale
        tl.store(log_s + start + at, slope, inside)
