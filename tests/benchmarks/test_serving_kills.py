"""A server that is killed, once."""

import sys

import pytest
import serving_kills

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev/shm"),
]


def test_nothing_is_left(capsys):
    assert serving_kills.attack(1) > 0
    assert "0 wrong, 0 files left" in capsys.readouterr().out
