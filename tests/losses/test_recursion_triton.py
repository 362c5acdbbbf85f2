"""RKDO's kernels of Triton: what they compute, and for which GPUs they compile."""

import json
import math
import os
import subprocess
import sys

import pytest
import recursion_by_triton
from recursion_by_triton import CASES

triton = pytest.importorskip("triton", reason="Triton is not installed")


@pytest.fixture(scope="module")
def found():
    """What the interpreter finds, in a process that starts with it."""
    done = subprocess.run(
        [sys.executable, recursion_by_triton.__file__],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_they_compute_the_closed_form(case, found):
    by_triton, by_torch = found[case]
    assert max(by_triton) < 2 * max(by_torch) + 1e-6


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_what_is_no_number_gives_none(bad, found):
    assert math.isnan(found[bad])


def test_they_are_tried_before_they_are_used(found):
    assert found["runs"] and not found["runs without a compiler"]
    (said,) = [each for each in found["said"] if "do not run on cpu" in each]
    assert "Failed to find C compiler" in said


@pytest.mark.parametrize("capability", [80, 90])
def test_they_compile_for_gpus_that_are_not_here(capability):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from rkdo_plugin.losses import recursion_triton as kernels

    constants = {"depth": 3, "through_target": True, "block": kernels.BLOCK}
    types = {"columns": "i32", "coupling": "fp32"}
    for kernel in (kernels._normalize, kernels._sum_up, kernels._differentiate):
        names = kernel.arg_names
        values = {name: constants[name] for name in constants if name in names}
        signature = {name: types.get(name, "*fp32") for name in names}
        signature |= dict.fromkeys(values, "constexpr")
        source = ASTSource(kernel, signature, values)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        assert compiled.asm["cubin"]
