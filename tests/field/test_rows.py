"""What a field's rows say, and how partners are drawn from them."""

import numpy as np
import pytest
import scipy.stats
import torch
from fields_by_hand import small_field
from oracles import dense_rows

from rkdo_plugin import ResponseField


def test_partners_follow_the_mixed_row():
    field = ResponseField(6, 4, neighbors=3, field_weight=0.5)
    field.initialize(torch.randn(6, 5, generator=torch.manual_seed(1)))
    field.self_mass[0] = 0.4
    field.weights[0] *= 0.6
    draws = 40_000
    generator = torch.Generator().manual_seed(0)
    partners = field.sample(torch.zeros(draws, dtype=torch.int64), generator)
    expected = np.zeros(6)
    expected[field.ids[0].long()] = 0.5 * field.weights[0]
    expected[0] = 1 - 0.5 * 0.6
    counts = np.bincount(partners, minlength=6)
    possible = expected > 0
    assert counts[~possible].sum() == 0
    # Seeded: a wrong distribution of this size gives a p-value of about 0.
    frequencies = expected[possible] / expected.sum() * draws
    assert scipy.stats.chisquare(counts[possible], frequencies).pvalue > 0.001


@pytest.mark.parametrize(("weight", "alone"), [(0.0, 1.0), (1.0, 0.0)])
def test_field_weight_at_its_ends(weight, alone):
    field = ResponseField(50, 4, field_weight=weight)
    field.initialize(torch.randn(50, 5))
    index = torch.arange(50)
    assert (field.sample(index) == index).float().mean() == alone


def test_draws_repeat_with_their_generator():
    field = ResponseField(50, 4)
    field.initialize(torch.randn(50, 5))
    index = torch.arange(50)
    one, two = (field.sample(index, torch.manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)


def test_row_entropy_is_scipys():
    field = small_field(3, 0.5)
    field.update(torch.arange(8), torch.randn(8, 4))
    np.testing.assert_allclose(
        field.row_entropy(), scipy.stats.entropy(dense_rows(field), axis=1), atol=1e-5
    )


def test_a_coupling_that_vanishes_moves_nothing():
    field = small_field(3, 0.5)
    field.update(torch.arange(8), torch.randn(8, 4), coupling=1e-46)
    assert field.self_mass.eq(1).all()
    assert field.weights.eq(0).all()
    assert field.ids.eq(-1).all()
