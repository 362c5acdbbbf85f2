"""RKDO by Triton's kernels in its interpreter, beside the closed form in float64.

Run as a program with TRITON_INTERPRET=1, which Triton reads when it is imported, it
prints the relative errors of each case, of the value and of the gradients: those of the
kernels, and those of PyTorch's operations in the same precision.
"""

import json
import math
import warnings

import torch
from two_view_criteria import randn

from rkdo_plugin import IConLoss, RecursiveLoss
from rkdo_plugin.losses.recursion import Recursion

CROSS = IConLoss(candidates="cross")
CASES = {  # criterion, and B of two views
    "as published": (RecursiveLoss(CROSS), 19),
    "sharp": (RecursiveLoss(IConLoss(0.05, candidates="cross"), coupling=0.3), 9),
    "one depth": (RecursiveLoss(CROSS, depth=1), 9),
    "five depths": (RecursiveLoss(CROSS, coupling=0.9, depth=5), 5),
    "p becomes q": (RecursiveLoss(CROSS, coupling=1), 5),
    "p stays": (RecursiveLoss(CROSS, coupling=0), 5),
    "detached": (RecursiveLoss(CROSS, detach_target=True), 5),
    "without itself": (RecursiveLoss("simclr"), 9),
    "labels": (RecursiveLoss(IConLoss(supervision="labels")), 9),
    "debiased": (RecursiveLoss(IConLoss(debias=0.2)), 9),
    "student-t": (RecursiveLoss(IConLoss(kernel="student_t")), 9),
    "two samples": (RecursiveLoss(CROSS), 2),
    "a block": (RecursiveLoss(CROSS), 16),
    "a block and one column": (RecursiveLoss(CROSS), 17),
}


def value_and_gradients(criterion, z0, z1):
    z0, z1 = z0.clone().requires_grad_(), z1.clone().requires_grad_()
    labels = torch.arange(len(z0)) % 5
    loss = criterion(z0, z1, labels if criterion.reads_labels else None)
    return (loss.detach(), *torch.autograd.grad(loss, (z0, z1)))


def errors(criterion, batch, by_triton):
    """Of float32."""
    z0, z1 = randn(2, batch, 6).unbind()
    Recursion._fits_triton = lambda self, log_s: False
    exact = value_and_gradients(criterion, z0, z1)
    Recursion._fits_triton = lambda self, log_s: by_triton
    single = value_and_gradients(criterion, z0.float(), z1.float())
    return [
        float((found - expected).norm() / expected.norm())
        for found, expected in zip(single, exact, strict=True)
    ]


def without_compiler(*args):
    raise RuntimeError("Failed to find C compiler")


def main():
    from rkdo_plugin.losses import recursion_triton

    recursion_triton.BLOCK = 16
    found = {
        name: [errors(*case, by_triton) for by_triton in (True, False)]
        for name, case in CASES.items()
    }
    Recursion._fits_triton = lambda self, log_s: True
    z0, z1 = randn(2, 5, 3, dtype=torch.float32).unbind()
    for bad in (math.nan, math.inf):
        z0[2, 1] = bad
        found[str(bad)] = value_and_gradients(RecursiveLoss(CROSS), z0, z1)[0].item()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found["runs"] = recursion_triton.runs_on(torch.device("cpu"))
        recursion_triton.runs_on.cache_clear()
        recursion_triton.recurse = without_compiler
        found["runs without a compiler"] = recursion_triton.runs_on(torch.device("cpu"))
    found["said"] = [str(each.message) for each in said]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
