"""Both libraries find what a loop finds, block by block."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors
from vector_tables import random_rows

from rkdo_plugin.export.vectors import search
from rkdo_plugin.export.vectors.read import BLOCK, blocks

ROWS = random_rows(100, 5)
QUERIES = random_rows(6, 5, seed=1) * 10


@pytest.fixture(params=["faiss", "sklearn"])
def library(request, monkeypatch):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    else:
        monkeypatch.setattr(search, "find_spec", lambda name: None)
    return request.param


def by_loop(queries, rows, count, without=None):
    """Cosines and rows in float64, one pair at a time."""
    found = []
    for number, query in enumerate(queries.astype(np.float64)):
        pairs = []
        for place, row in enumerate(rows.astype(np.float64)):
            norms = np.sqrt(query @ query) * np.sqrt(row @ row)
            if without is None or place != without[number]:
                pairs.append((-(query @ row) / norms if norms else 0.0, place))
        found.append(sorted(pairs)[:count])
    cosines, places = np.moveaxis(np.array(found), 2, 0)
    return -cosines, places.astype(int)


@pytest.mark.parametrize("size", [7, 50, 100, 1000])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("count", [1, 12, 100])
def test_a_loop_finds_the_same(library, monkeypatch, size, kind, count):
    monkeypatch.setattr(search, "blocks", partial(blocks, size=size))
    rows = ROWS.astype(kind)
    cosines, found = search.nearest(QUERIES, rows, count)
    expected, places = by_loop(QUERIES, rows, count)
    np.testing.assert_allclose(cosines, expected, atol=1e-6)
    np.testing.assert_array_equal(found, places)
    assert cosines.dtype == np.float32 and found.dtype == np.int64


def test_scikit_learn_in_one_piece_finds_the_same(library, monkeypatch):
    monkeypatch.setattr(search, "blocks", partial(blocks, size=7))
    brute = NearestNeighbors(n_neighbors=9, algorithm="brute", metric="cosine")
    distances, places = brute.fit(ROWS.astype(np.float64)).kneighbors(QUERIES)
    cosines, found = search.nearest(QUERIES, ROWS, 9)
    np.testing.assert_array_equal(found, places)
    np.testing.assert_allclose(1 - cosines, distances, atol=1e-6)


def test_a_query_is_no_neighbour_of_itself(library):
    own = np.array([3, 99, -1, 0])
    cosines, found = search.nearest(ROWS[own], ROWS, 5, without=own)
    expected, places = by_loop(ROWS[own], ROWS, 5, without=own)
    np.testing.assert_array_equal(found, places)
    np.testing.assert_allclose(cosines, expected, atol=1e-6)
    assert found[2, 0] == 99  # -1 excludes none: the last row is found


def test_copies_of_a_query_are_its_neighbours(library):
    copies = np.concatenate([ROWS[:1]] * 9 + [ROWS])
    own = np.array([9])
    cosines, found = search.nearest(copies[own], copies, 4, without=own)
    assert 9 not in found and (found < 9).all() and found.shape == (1, 4)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


def test_some_of_the_rows(library, monkeypatch):
    monkeypatch.setattr(search, "blocks", partial(blocks, size=7))
    among = np.random.default_rng(2).permutation(100)[:30]
    _, found = search.nearest(QUERIES, ROWS, 5, among=among)
    np.testing.assert_array_equal(found, by_loop(QUERIES, ROWS[among], 5)[1])


def test_a_vector_of_zeros_is_as_far_from_all(library):
    rows = np.array([[-1, 0], [0, 0], [1, 0]], np.float32)
    cosines, found = search.nearest(np.array([[2, 0]]), rows, 3)
    assert found.tolist() == [[2, 1, 0]]
    np.testing.assert_allclose(cosines, [[1, 0, -1]], atol=1e-6)
    np.testing.assert_array_equal(search.nearest(rows[1:2], rows, 3)[0], [[0, 0, 0]])


def test_memory_is_a_block_and_not_the_table(library):
    rows = np.ones((400_000, 32), np.float16)  # 98 MiB in float64
    search.nearest(QUERIES[:, :1].repeat(32, axis=1), rows[:10], 3)  # imports
    tracemalloc.start()
    search.nearest(QUERIES[:, :1].repeat(32, axis=1), rows, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * BLOCK * 32 * 4


def test_a_query_from_elsewhere_may_have_all_rows(library):
    own = np.array([-1, -1])
    _, found = search.nearest(QUERIES[:2], ROWS, 100, without=own)
    np.testing.assert_array_equal(found, by_loop(QUERIES[:2], ROWS, 100)[1])
