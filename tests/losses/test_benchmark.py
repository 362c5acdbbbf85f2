import sys

import pytest

from rkdo_plugin.losses.benchmark import _peak_mebibytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_that_of_the_pass_and_not_of_the_parent():
    ntxent, rkdo = (_peak_mebibytes(name, 2048, 32) for name in ("ntxent", "rkdo"))
    assert ntxent > 8 * 2048**2 * 4 / 2**20  # several (2B, 2B) matrices of 4 bytes
    assert rkdo < ntxent / 4
