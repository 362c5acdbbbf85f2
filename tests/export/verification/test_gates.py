"""The bounds are those that the docs promise."""

import pytest
from checkout import ROOT

from rkdo_plugin.export.file.metadata import PRECISIONS, require_precision
from rkdo_plugin.export.verification.gates import GATES, Gate


def test_every_precision_has_the_bounds_of_the_docs():
    int8 = Gate(
        max_one_minus_cosine=1 - 0.998,
        mean_one_minus_cosine=1 - 0.9995,
        neighbors_kept=0.94,
        knn_drop=0.005,
    )
    assert GATES.keys() == set(PRECISIONS)
    assert GATES["fp32"] == Gate(max_abs=1e-5, max_one_minus_cosine=1e-9)
    assert GATES["fp16"] == Gate(max_one_minus_cosine=1e-5)
    for precision in ("int8", "int8-dynamic", "int8-tensorrt"):
        for bound, expected in vars(int8).items():
            assert getattr(GATES[precision], bound) == pytest.approx(expected)
    assert {gate.max_norm_error for gate in GATES.values()} == {1e-6}
    page = (ROOT / "docs" / "export.md").read_text()
    for words in (
        "max difference 1e-5, 1 - cosine 1e-9",
        ".9995",
        ".998",
        ".94",
        "1e-6",
    ):
        assert words in page


def test_without_norms_the_bound_is_the_distance_of_unit_vectors():
    """|a - b| = sqrt(2 - 2 cos), for unit vectors a and b."""
    assert GATES["fp16"].max_relative == pytest.approx((2 * 1e-5) ** 0.5)
    assert GATES["fp32"].max_relative == 1e-5  # sqrt(2e-9) is more


def test_other_precisions_are_refused():
    with pytest.raises(ValueError, match="int8-dynamic, int8-tensorrt but got 'bf16'"):
        require_precision("bf16")
