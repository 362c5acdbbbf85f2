"""Statistics of every division against double loops."""

import numpy as np
import pytest
from two_sample_loops import distances_by_loop, fifth_by_loop, mmd_by_loop
from vector_tables import random_rows

from rkdo_plugin.export.vectors.two_samples import (
    median_distance,
    mmd,
    neighbour_distances,
    p_value,
)


@pytest.mark.parametrize(("m", "n"), [(6, 30), (40, 25), (150, 7)])
@pytest.mark.parametrize("shift", [0, 3])
def test_statistics_of_every_division(m, n, shift):
    pooled = random_rows(m + n, 3).astype(np.float64)
    pooled[m:] += shift
    distances = distances_by_loop(pooled, pooled)
    generator = np.random.default_rng(0)
    first = np.arange(m + n) >= m
    members = np.stack([first, *(generator.permutation(first) for _ in range(3))])
    mmds = mmd(np.exp(-(distances**2) / (2 * 1.3**2)), members)
    apart = neighbour_distances(distances, members)
    for row, new in enumerate(members):
        x, y = pooled[~new], pooled[new]
        np.testing.assert_allclose(mmds[row], mmd_by_loop(x, y, 1.3), atol=1e-12)
        np.testing.assert_allclose(apart[row], fifth_by_loop(x, y), rtol=1e-12)


def test_the_median_of_all_pairs():
    x = random_rows(12, 3)
    distances = distances_by_loop(x, x)
    pairs = [distances[i, j] for i in range(12) for j in range(i)]
    assert median_distance(distances) == np.median(pairs)
    assert median_distance(np.zeros((3, 3))) == 1


def test_p_counts_the_shuffles_that_are_no_less_apart():
    assert p_value(np.array([3.0, 1, 2, 3, 4])) == 3 / 5
    assert p_value(np.array([5.0, 1, 2, 3, 4])) == 1 / 5
    assert p_value(np.array([0.1 + 0.2, 0.3])) == 1
