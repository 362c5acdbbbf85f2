"""Purity and distances of rows, against loops and dense matrices."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense_rows

from rkdo_plugin.field import ResponseField
from rkdo_plugin.recipes.field.purity import (
    FieldPurity,
    chance_purity,
    moved_mass,
    purity,
)


def random_field(seed, num_samples=12, neighbors=3):
    """A field some of whose rows have fewer neighbours, or none."""
    random = np.random.default_rng(seed)
    field = ResponseField(num_samples, dim=2, neighbors=neighbors)
    for i in range(num_samples):
        count = random.integers(0, neighbors + 1)
        others = random.permutation([j for j in range(num_samples) if j != i])[:count]
        mass = random.dirichlet(np.ones(count + 1)).astype(np.float32)
        field.ids[i, :count] = torch.from_numpy(others.astype(np.int32))
        field.weights[i, :count] = torch.from_numpy(mass[1:]).sort(descending=True)[0]
        field.self_mass[i] = float(mass[0])
    return field


@given(st.integers(0, 2**32), st.integers(1, 4))
@settings(max_examples=25)
def test_purity_is_the_weight_on_the_own_class_over_all_weight(seed, classes):
    field = random_field(seed)
    labels = np.random.default_rng(seed).integers(0, classes, 12)
    shares = purity(field.ids, field.weights, torch.from_numpy(labels))
    for i in range(12):
        same = total = 0.0
        for j, weight in zip(
            field.ids[i].tolist(), field.weights[i].tolist(), strict=True
        ):
            if j >= 0:
                total += weight
                same += weight * (labels[j] == labels[i])
        if total == 0:
            assert math.isnan(shares[i])
        else:
            assert float(shares[i]) == pytest.approx(same / total, abs=1e-6)


def test_a_row_without_neighbours_has_no_purity_and_leaves_means_alone():
    field = ResponseField(3, dim=2, neighbors=2)
    field.ids[0] = torch.tensor([1, 2])
    field.weights[0] = torch.tensor([0.6, 0.2])
    field.self_mass[0] = 0.2
    labels = torch.tensor([5, 5, 7])
    assert FieldPurity.of(field, labels) == FieldPurity(
        purity=pytest.approx(0.75), nearest=1.0
    )
    nobody = FieldPurity.of(ResponseField(3, dim=2, neighbors=2), labels)
    assert math.isnan(nobody.purity)
    assert math.isnan(nobody.nearest)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 1], [3, 3, 3], [0, 1, 2]])
def test_chance_is_the_share_of_pairs_of_one_class(labels):
    pairs = [
        labels[i] == labels[j]
        for i in range(len(labels))
        for j in range(len(labels))
        if i != j
    ]
    assert chance_purity(torch.tensor(labels)) == pytest.approx(np.mean(pairs))


@given(st.integers(0, 2**32), st.integers(0, 2**32))
@settings(max_examples=25)
def test_moved_mass_is_the_total_variation_of_the_dense_rows(seed, other):
    field, start = random_field(seed), random_field(other)
    expected = np.abs(dense_rows(field) - dense_rows(start)).sum(axis=1) / 2
    moved = moved_mass(field, start)
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    np.testing.assert_allclose(moved_mass(field, field), 0, atol=1e-6)


def test_from_one_hot_what_has_moved_is_what_is_no_self_mass():
    field = random_field(0)
    moved = moved_mass(field, ResponseField(12, dim=2, neighbors=3))
    np.testing.assert_allclose(moved, 1 - field.self_mass, atol=1e-6)
