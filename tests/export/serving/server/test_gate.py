"""Keys, and the bytes of all requests at once."""

import pytest
from prometheus_client import REGISTRY

from rkdo_plugin.export.serving.server.batching import QueueFullError
from rkdo_plugin.export.serving.server.gate import HELD, Gate, noted


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("Bearer one", True),
        (b"bearer two", True),
        ("Bearer  two ", True),
        ("Bearer", False),
        ("Bearer onetwo", False),
        ("Basic one", False),
        ("one", False),
        ("Bearer \u00fc", False),
        ("", False),
    ],
)
def test_one_of_the_keys_is_needed(given, known):
    assert Gate((b"one", b"two"), 1).knows(given) is known
    assert Gate((), 1).knows(given)


def test_the_bytes_of_all_requests_are_bounded_and_given_back():
    gate = Gate((), 10)
    with gate.holding() as hold:
        hold(10 * HELD - 1)
        with gate.holding() as other:
            other(1)
            with pytest.raises(QueueFullError, match=f"at most {10 * HELD} bytes"):
                other(1)
        hold(1)
    with gate.holding() as hold:
        hold(10 * HELD)


def test_what_ends_without_an_answer_is_a_disconnection():
    labels = {"protocol": "test", "outcome": "DISCONNECTED"}
    with pytest.raises(KeyError), noted("test", "place"):
        raise KeyError
    assert REGISTRY.get_sample_value("rkdo_requests_total", labels) == 1
