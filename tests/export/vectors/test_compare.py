"""Figures of two encoders against their definitions, and identities."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group
from vector_tables import ENCODER, in_memory, names, random_rows, write_vectors

from rkdo_plugin.export import Vectors, compare_encoders
from rkdo_plugin.export.vectors import alike, search
from rkdo_plugin.export.vectors.read import blocks

A = random_rows(300, 6) + 0.5
NOISY = (A[:, :4] + random_rows(300, 4, seed=1)).astype(np.float32)
TURN = ortho_group.rvs(6, random_state=0)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    monkeypatch.setattr(alike, "BLOCK", 70)
    monkeypatch.setattr(search, "blocks", partial(blocks, size=70))


def unit(rows):
    wide = rows.astype(np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def cka_of_kernels(a, b):
    """By its definition, HSIC of the (N, N) kernels in float64."""

    def hsic(k, kernel):
        centre = np.eye(len(k)) - 1 / len(k)
        return np.trace(k @ centre @ kernel @ centre) / (len(k) - 1) ** 2

    k, kernel = a @ a.T, b @ b.T
    return hsic(k, kernel) / np.sqrt(hsic(k, k) * hsic(kernel, kernel))


def compared(a, b, **options):
    return compare_encoders(in_memory(a, "a"), in_memory(b, "b"), **options)


@pytest.mark.parametrize("b", [NOISY, random_rows(300, 9, seed=2), A[:, ::-1] ** 2])
@pytest.mark.parametrize("swap", [False, True])
def test_the_definitions(b, swap):
    first, second = (b, A) if swap else (A, b)
    found = compared(first, second, count=7)
    a, b = unit(first), unit(second)
    np.testing.assert_allclose(found.cka, cka_of_kernels(a, b), rtol=1e-5)
    side = max(a.shape[1], b.shape[1])
    padded = [np.pad(x, ((0, 0), (0, side - x.shape[1]))) for x in (a, b)]
    turn, _ = orthogonal_procrustes(*padded)
    cosines = ((padded[0] @ turn) * padded[1]).sum(axis=1)
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-5)
    shared = []
    for row in range(300):
        near = [np.argsort(-(x @ x[row]), kind="stable") for x in (a, b)]
        sets = [{*order[order != row][:7]} for order in near]
        shared.append(len(sets[0] & sets[1]) / 7)
    np.testing.assert_allclose(found.overlap, np.mean(shared), atol=1e-12)
    assert found.queries == found.images == 300
    order = np.argsort(cosines)[:12]
    assert [each.key for each in found.moved] == [names(300)[row] for row in order]
    near = np.argsort(-(a @ a[order[0]]))
    before = [names(300)[row] for row in near if row != order[0]][:7]
    assert list(found.moved[0].before) == before


@pytest.mark.parametrize("scale", [1, 1000])
@pytest.mark.parametrize("wider", [0, 3])
def test_a_turned_copy_is_the_same(scale, wider):
    turned = scale * np.pad(A @ TURN, ((0, 0), (0, wider)))
    found = compared(A, turned.astype(np.float32))
    np.testing.assert_allclose(found.cka, 1, atol=1e-6)
    np.testing.assert_allclose(found.cosines, 1, atol=1e-5)
    assert found.overlap == 1
    assert found.cka_chance < 0.1 and found.cosine_chance < 0.9


def test_turning_and_scaling_change_no_figure():
    plain = compared(A, NOISY)
    turned = compared((5 * A @ TURN).astype(np.float32), NOISY)
    np.testing.assert_allclose(turned.cka, plain.cka, atol=1e-6)
    np.testing.assert_allclose(turned.cosines, plain.cosines, atol=1e-5)
    assert turned.overlap == plain.overlap


def test_unrelated_vectors_are_at_chance():
    a, b = random_rows(2000, 8), random_rows(2000, 8, seed=1)
    found = compared(a, b, count=20)
    assert found.overlap_chance == 20 / 1999
    assert abs(found.overlap - found.overlap_chance) < 0.002
    np.testing.assert_allclose(found.cka, found.cka_chance, atol=0.01)
    np.testing.assert_allclose(found.cosines.mean(), found.cosine_chance, atol=0.02)


def test_rows_are_paired_by_their_keys():
    order = np.random.default_rng(0).permutation(300)
    keys = np.array(names(300))
    some = Vectors("b", pa.chunked_array([keys[order][:250]]), NOISY[order][:250], {})
    more = Vectors(
        "a",
        pa.chunked_array([["x"], keys, ["y"]]),
        np.concatenate([A[:1], A, A[:1]]),
        ENCODER,
    )
    found = compare_encoders(more, some)
    shared = np.sort(order[:250])
    expected = compare_encoders(
        *(
            Vectors("", pa.chunked_array([keys[shared]]), x[shared], {})
            for x in (A, NOISY)
        )
    )
    np.testing.assert_allclose(found.cka, expected.cka)
    np.testing.assert_array_equal(found.cosines, expected.cosines)
    assert found.overlap == expected.overlap and found.moved == expected.moved
    assert (found.images, found.only_first, found.only_second) == (250, 52, 0)
    assert "250 images in both\nonly in one: 52 and 0\n" in str(found)


def test_a_sample_of_queries_among_all():
    whole = compared(A, NOISY)
    some = compared(A, NOISY, queries=150)
    assert some.queries == 150
    assert abs(some.overlap - whole.overlap) < 0.05
    again = compared(A, NOISY, queries=150)
    other = compared(A, NOISY, queries=150, seed=1)
    assert again.overlap == some.overlap != other.overlap
    assert other.cka == some.cka and other.cka_chance != some.cka_chance


def test_files(tmp_path):
    first = write_vectors(tmp_path / "a.parquet", A.astype(np.float16))
    second = write_vectors(tmp_path / "b.parquet", NOISY)
    found = compare_encoders(first, second)
    np.testing.assert_allclose(found.cka, compared(A, NOISY).cka, atol=1e-3)
    assert found.first == str(first) and found.dims == (6, 4)


def test_fewer_than_three_images_in_both():
    few = in_memory(A[:2], "few")
    with pytest.raises(
        ValueError, match=r"3 keys in both a and few but got 2; 298 and 0"
    ):
        compare_encoders(in_memory(A, "a"), few)
    with pytest.raises(ValueError, match="got 1; 0 and 0"):
        compare_encoders(in_memory(A[:1]), in_memory(A[:1]))


def test_numbers_out_of_range():
    with pytest.raises(ValueError, match=r"`count` to be from 1 to 299, .* got 300"):
        compared(A, NOISY, count=300)
    with pytest.raises(ValueError, match="`queries` to be at least 1 but got 0"):
        compared(A, NOISY, queries=0)
    assert compared(A[:3], NOISY[:3], count=2).overlap == 1


def test_a_collapsed_encoder():
    same = np.tile(A[:1], (300, 1))
    with pytest.raises(ValueError, match="vectors that differ in b but all are alike"):
        compared(A, same)
