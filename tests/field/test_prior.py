import numpy as np
import pytest
import torch

from rkdo_plugin.field import prior
from rkdo_plugin.field.prior import RANK, SideBySide, gram_factors


def unit(count, dim, seed=0):
    z = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    z[:, 0] += 1  # a mean, which must not be taken off
    return torch.nn.functional.normalize(z, dim=1)


@pytest.mark.parametrize("chunk", [2**22, 500])
@pytest.mark.parametrize("dim", [1, 7, RANK, 50, 200])
def test_products_are_the_cosines_of_the_best_of_their_rank(monkeypatch, chunk, dim):
    monkeypatch.setattr(prior, "CHUNK", chunk)
    rows = unit(100, dim)
    rows[3] = 0
    found = gram_factors(rows)
    assert found.dtype == torch.float16
    assert found.shape == (100, RANK)
    left, values, right = np.linalg.svd(rows.double().numpy(), full_matrices=False)
    values[RANK:] = 0
    best = left * values @ right
    norms = np.linalg.norm(best, axis=1, keepdims=True)
    best = np.divide(best, norms, out=np.zeros_like(best), where=norms > 1e-12)
    np.testing.assert_allclose(
        (found.double() @ found.double().T).numpy(), best @ best.T, atol=1e-3
    )
    if dim <= RANK:
        np.testing.assert_allclose(best @ best.T, rows @ rows.T, atol=1e-6)


def test_fewer_samples_than_numbers_are_exact():
    rows = unit(20, 100)
    found = gram_factors(rows).double()
    np.testing.assert_allclose(found @ found.T, rows @ rows.T, atol=1e-3)


def test_banks_side_by_side_are_read_as_one():
    left, right = unit(10, 3).half(), unit(10, 4)
    joined = torch.cat([left.float(), right], dim=1)
    bank = SideBySide(left, right)
    index = torch.tensor([7, 0, 7])
    assert torch.equal(bank.index_select(0, index), joined[index])
