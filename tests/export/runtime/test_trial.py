"""A trial gives a reason, whatever becomes of its process."""

import pytest

from rkdo_plugin.export.runtime import libraries, trial


def test_the_cpu_is_really_tried():
    assert trial.trial("cpu") is None


@pytest.mark.skipif(libraries.nvidia_driver() is not None, reason="has a driver")
def test_without_a_driver_the_trial_says_so():
    assert trial.trial("cuda") == "there is no NVIDIA driver"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", "the process ended with status -6"),
        ("raise SystemExit(3)", "the process ended with status 3"),
        ("import time; time.sleep(60)", "it gave no answer within 0.2 s"),
        (
            "raise RuntimeError('with error: libx.so.1: cannot open shared object "
            "file: none')",
            "libx.so.1 is not found",
        ),
        ("print('the reason'); raise SystemExit(1)", "the reason"),
    ],
)
def test_whatever_becomes_of_the_process_the_trial_gives_a_reason(
    program, reason, monkeypatch
):
    monkeypatch.setattr(trial, "PROGRAM", program)
    if "sleep" in program:
        monkeypatch.setattr(trial, "SECONDS", 0.2)
    assert trial.trial("cuda") == reason
