"""Processes with a part of the batch each do what one does with the whole batch."""

import pytest
import torch
from torch import multiprocessing
from two_processes import (
    CRITERIA,
    ROWS,
    embeddings,
    part_of_batch,
    row_gradient,
    weight_gradient,
)


@pytest.fixture(scope="module", params=[2, 3])
def processes(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    results, count = folder / "results.pt", request.param
    arguments = (count, folder / "store", results)
    multiprocessing.spawn(part_of_batch, arguments, nprocs=count)
    return torch.load(results)


@pytest.mark.parametrize("name", CRITERIA)
def test_processes_equal_one(processes, name):
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    expected = weight_gradient(name, embeddings(), weight)
    torch.testing.assert_close(processes[name], expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CRITERIA)
def test_weights_may_be_shared_out_by_fsdp(processes, name):
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    _, expected = weight_gradient(name, embeddings(), weight)
    found = processes[f"sharded {name}"]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_processes_with_targets_equal_one(processes, name):
    weight = torch.eye(5, dtype=torch.float64, requires_grad=True)
    expected = row_gradient(name, slice(None), weight)
    torch.testing.assert_close(processes[name], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["uneven icon", "uneven moco"])
def test_batches_of_other_sizes_are_refused_in_every_process(processes, name):
    said = "but got (3, 5) of 64 bits, (4, 5) of 64 bits"
    assert said in processes[name]


def test_the_field_takes_batches_of_other_sizes(processes):
    rows = processes["uneven rows"]
    assert len(rows) in (7, 12)  # of 2 and of 3 processes
    assert torch.equal(rows, embeddings()[0, : len(rows)])
