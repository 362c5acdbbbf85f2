"""Two processes with half a batch each do what one does with the whole batch."""

import pytest
import torch
from torch import multiprocessing
from two_processes import (
    CRITERIA,
    ROWS,
    embeddings,
    half_batch,
    row_gradient,
    weight_gradient,
)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    results = folder / "results.pt"
    multiprocessing.spawn(half_batch, (folder / "store", results), nprocs=2)
    return torch.load(results)


@pytest.mark.parametrize("name", CRITERIA)
def test_two_processes_equal_one(two_processes, name):
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    expected = weight_gradient(name, embeddings(), weight)
    torch.testing.assert_close(two_processes[name], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_two_processes_with_targets_equal_one(two_processes, name):
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    expected = row_gradient(name, slice(None), weight)
    torch.testing.assert_close(two_processes[name], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["uneven icon", "uneven moco"])
def test_batches_of_other_sizes_are_refused_in_every_process(two_processes, name):
    assert "but got (3, 5) of 64 bits, (4, 5) of 64 bits" in two_processes[name]


def test_the_field_takes_batches_of_other_sizes(two_processes):
    assert torch.equal(two_processes["uneven rows"], embeddings()[0, :7])
