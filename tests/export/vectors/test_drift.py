"""What drift reports, and p-values with and without one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from two_sample_loops import distances_by_loop, fifth_by_loop, mmd_by_loop
from vector_tables import in_memory, random_rows, write_vectors

from rkdo_plugin.export import drift
from rkdo_plugin.export.vectors.two_samples import median_distance


def test_what_is_reported(tmp_path):
    x, y = random_rows(50, 3), random_rows(60, 3, seed=1) + np.float32(0.5)
    reference = write_vectors(tmp_path / "old.parquet", x)
    new = write_vectors(tmp_path / "new.parquet", y.astype(np.float16))
    found = drift(reference, new, permutations=99)
    pooled = np.concatenate([x, y.astype(np.float16)]).astype(np.float64)
    bandwidth = median_distance(distances_by_loop(pooled, pooled))
    np.testing.assert_allclose(found.bandwidth, bandwidth)
    expected = mmd_by_loop(pooled[:50], pooled[50:], bandwidth)
    np.testing.assert_allclose(found.mmd, expected, atol=1e-12)
    np.testing.assert_allclose(
        (found.distance, found.reference_distance),
        fifth_by_loop(pooled[:50], pooled[50:]),
    )
    assert found.sizes == found.sampled == (50, 60) and found.checked
    assert f"{found.mmd_p:.4f}" in str(found) and "not checked" not in str(found)
    assert drift(reference, new, permutations=99) == found
    sampled = drift(reference, new, permutations=99, sample=40)
    assert sampled.sampled == (40, 40) and sampled.mmd != found.mmd
    assert "40 of 50 in" in str(sampled)
    other = drift(reference, new, permutations=99, sample=40, seed=1)
    assert other.mmd != sampled.mmd


def p_values(shift, spread, runs):
    """Of new images that are moved, or spread out."""
    found = []
    for run in range(runs):
        rows = random_rows(80, 4, seed=run)
        rows[40:] = rows[40:] * spread + shift
        both = in_memory(rows[:40]), in_memory(rows[40:])
        done = drift(*both, permutations=99, seed=run)
        found.append((done.mmd_p, done.distance_p))
    return np.array(found).T


def test_p_values_are_even_without_a_drift():
    for values in p_values(shift=0, spread=1, runs=200):
        # P(p <= a) is at most a, and near it; 200 runs deviate by 0.04 in the mean.
        for level in (0.05, 0.2, 0.5, 0.8):
            assert abs((values <= level).mean() - level) < 0.1
        assert values.min() >= 0.01 and values.max() <= 1


@pytest.mark.parametrize(("shift", "spread"), [(1.5, 1), (0, 3)])
def test_p_values_are_small_with_one(shift, spread):
    mmds, gaps = p_values(shift, spread, runs=10)
    assert (mmds == 0.01).all() and (gaps == 0.01).all()


def test_narrower_images_are_found_by_mmd_alone():
    """Images in the midst of the reference are not far from it."""
    mmds, gaps = p_values(shift=0, spread=0.2, runs=10)
    assert (mmds == 0.01).all() and (gaps > 0.9).all()


@settings(max_examples=25)
@given(st.integers(6, 20), st.integers(6, 20), st.integers(1, 30), st.integers(0, 99))
def test_p_values_are_never_zero(m, n, permutations, seed):
    rows = random_rows(m + n, 2, seed=seed)
    rows[m:] += 100
    done = drift(
        in_memory(rows[:m]), in_memory(rows[m:]), permutations=permutations, seed=seed
    )
    for p in (done.mmd_p, done.distance_p):
        assert 1 / (1 + permutations) <= p <= 1
        assert round(p * (1 + permutations), 9).is_integer()
    assert done.smallest_p == min(done.mmd_p, done.distance_p)


def test_equal_vectors_show_no_drift():
    same = in_memory(np.ones((30, 3), np.float32))
    found = drift(same, same, permutations=19)
    assert found.mmd_p == found.distance_p == 1 and abs(found.mmd) < 1e-12


def test_vectors_of_two_encoders_are_refused():
    rows = random_rows(20, 3)
    other = in_memory(rows, "new", {"rkdo.sha256": "b" * 64})
    with pytest.raises(
        ValueError, match=r"of one encoder but that of v is a+ and .* b+"
    ):
        drift(in_memory(rows), other)
    lost = in_memory(rows, "new", {})
    assert "not checked" in str(drift(in_memory(rows), lost, permutations=9))
    with pytest.raises(ValueError, match="got 3 numbers in v and 4 in new"):
        drift(in_memory(rows), in_memory(random_rows(20, 4), "new"))


def test_numbers_out_of_range():
    many, few = in_memory(random_rows(6, 3)), in_memory(random_rows(5, 3), "few")
    for pair in ((many, few), (few, many)):
        with pytest.raises(ValueError, match="at least 6 vectors in few but got 5"):
            drift(*pair)
    with pytest.raises(ValueError, match="`sample` to be at least 6 but got 5"):
        drift(many, many, sample=5)
    with pytest.raises(ValueError, match="`permutations` to be at least 1 but got 0"):
        drift(many, many, permutations=0)
    drift(many, many, sample=6, permutations=1)
