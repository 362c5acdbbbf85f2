"""A report of a vision transformer says which int8 file is the better one."""

import dataclasses

import pytest
from photographs import crops

from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.int8.cost import advice, cost
from rkdo_plugin.export.verification.judge import Judge


@pytest.mark.parametrize(
    ("this", "other", "words"),
    [
        (True, False, "int8-dynamic fails the gate: prefer this file"),
        (False, False, "int8-dynamic fails the gate, too"),
        (False, True, "int8-dynamic passes the gate: use it"),
        (True, True, "int8-dynamic passes, too, in "),
    ],
)
def test_the_better_file_is_advised(small_file, make_small, this, other, words):
    file, images = read_model(small_file), crops(43, 16)
    passed = Judge(make_small(), images).report(file)
    failed = dataclasses.replace(passed, failures=("Expected better",))
    reports = [passed if each else failed for each in (this, other)]
    assert words in advice(file, reports[0], file, reports[1], images)


def test_what_a_file_costs_is_relative_to_two_others(small_file):
    file = read_model(small_file)
    paid, gained = cost(file, file, file, crops(8, 16))
    assert "1.00 times the size of the plain int8 file, which failed" in paid
    assert "1.00 times the size of the float32 file" in gained
