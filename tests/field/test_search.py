import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from rkdo_plugin.field import search
from rkdo_plugin.field.search import exact_neighbors, sampled_neighbors


def unit(count, dim=6, seed=0):
    z = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(z, dim=1)


@pytest.mark.parametrize("chunk", [2**22, 2000])
@pytest.mark.parametrize("count", [5, 40, 400, 1003])
def test_exact_search_finds_scikit_learns_neighbors(monkeypatch, chunk, count):
    monkeypatch.setattr(search, "CHUNK", chunk)
    bank = unit(count)
    valid = torch.arange(count) % 5 != 0
    own = torch.arange(min(count, 30))
    ids, similarities = exact_neighbors(bank[own], bank, valid, own, neighbors=4)
    rows = valid.nonzero()[:, 0]
    finder = NearestNeighbors(
        n_neighbors=min(5, len(rows)), metric="cosine", algorithm="brute"
    ).fit(bank[rows])
    distances, found = finder.kneighbors(bank[own])
    for query in own.tolist():
        expected = [
            (int(rows[j]), 1 - distance)
            for j, distance in zip(found[query], distances[query], strict=True)
            if int(rows[j]) != query
        ][:4]
        filled = ids[query] >= 0
        assert ids[query][filled].tolist() == [i for i, _ in expected]
        np.testing.assert_allclose(
            similarities[query][filled], [s for _, s in expected], atol=1e-5
        )
        assert torch.isneginf(similarities[query][~filled]).all()


@pytest.mark.parametrize("known", [[], [3], [3, 9]])
def test_where_few_rows_count_the_rest_is_unfilled(known):
    bank, own = unit(12), torch.tensor([3, 5])
    valid = torch.isin(torch.arange(12), torch.tensor(known))
    current = torch.full((2, 4), -1)
    everyone = torch.arange(12)
    for ids, similarities in (
        exact_neighbors(bank[own], bank, valid, own, 4),
        sampled_neighbors(bank[own], bank, valid, own, 4, everyone, current),
    ):
        found = [[j for j in row if j >= 0] for row in ids.tolist()]
        assert [sorted(row) for row in found] == [
            [j for j in known if j != i] for i in own.tolist()
        ]
        assert torch.equal(similarities == -torch.inf, ids == -1)


def test_sampling_every_row_is_exact():
    bank = unit(60)
    valid = torch.arange(60) != 7
    own = torch.arange(10, 20)
    current = torch.full((10, 4), -1)
    expected = exact_neighbors(bank[own], bank, valid, own, 4)
    found = sampled_neighbors(bank[own], bank, valid, own, 4, torch.arange(60), current)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_sampled_search_reads_any_dtype(dtype):
    bank = unit(500).to(dtype)
    valid = torch.ones(500, dtype=torch.bool)
    own = torch.arange(8)
    queries = bank[own].float()
    current = torch.arange(32).view(8, 4) + 100
    among = (valid, own, 4, torch.arange(400, 410), current)
    found = sampled_neighbors(queries, bank, *among)
    expected = sampled_neighbors(queries, bank.float(), *among)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


def test_sampled_search_keeps_the_row_and_repeats_nothing():
    bank = unit(500)
    valid = torch.ones(500, dtype=torch.bool)
    own = torch.arange(8)
    nearest, similarities = exact_neighbors(bank[own], bank, valid, own, 4)
    # Of each row half is sampled as well, and some is in the batch itself.
    sampled = torch.cat([nearest[:, :2].flatten(), torch.arange(400, 450)])
    found, values = sampled_neighbors(bank[own], bank, valid, own, 4, sampled, nearest)
    assert torch.equal(found, nearest)
    torch.testing.assert_close(values, similarities)
