"""Chunks of rows, the memory they take, and what one pass is differentiated for."""

import pytest
import torch
from two_view_criteria import every_criterion, randn, value_and_gradients

from rkdo_plugin import rowwise


@every_criterion
def test_every_chunk_size_gives_the_dense_result(create, monkeypatch):
    z0, z1 = randn(2, 11, 5).unbind()
    dense = value_and_gradients(create(), z0, z1)
    for rows in range(1, 24):
        columns = 22 if create().candidates == "all" else 11
        monkeypatch.setattr(rowwise, "CPU_CHUNK", rows * columns)
        torch.testing.assert_close(
            value_and_gradients(create(), z0, z1), dense, rtol=1e-12, atol=1e-14
        )


@every_criterion
def test_a_chunk_is_all_that_is_held(create, monkeypatch):
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    monkeypatch.setattr(rowwise, "CPU_CHUNK", 4096)
    z0, z1 = randn(2, 512, 4).unbind()
    with Largest():
        value_and_gradients(create(), z0, z1)
    assert largest <= 8192  # a chunk, or the (1024, 4 to 6) embeddings


@pytest.mark.parametrize(
    ("rows", "columns", "ends"),
    [(3, 5, [1, 2, 3]), (9, 1, [4, 8, 9]), (5, 2, [2, 4, 5]), (6, 0, [4, 6])],
)
def test_chunks_are_whole_rows_and_at_least_one(rows, columns, ends, monkeypatch):
    monkeypatch.setattr(rowwise, "CPU_CHUNK", 4)
    found = rowwise.chunks(rows, columns, torch.device("cpu"))
    assert [part.stop for part in found] == ends
    assert [part.start for part in found] == [0, *ends[:-1]]


@every_criterion
def test_a_second_derivative_is_refused(create):
    z0, z1 = randn(2, 8, 4).requires_grad_().unbind()
    with pytest.raises(RuntimeError, match="once but got create_graph=True"):
        torch.autograd.grad(create()(z0, z1), z0, create_graph=True)


@every_criterion
def test_torch_func_is_refused_and_never_wrong(create):
    z0, z1 = randn(2, 8, 4).unbind()
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.grad(create())(z0, z1)
    with pytest.raises(RuntimeError, match="functorch transforms"):
        torch.func.vmap(create())(z0[None], z1[None])


@every_criterion
@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5])
def test_single_precision_is_as_accurate_as_whole_matrices(create, temperature):
    z0 = randn(128, 64)
    z1 = z0 + 0.3 * torch.randn(128, 64, generator=torch.manual_seed(1))
    exact = value_and_gradients(create(temperature), z0, z1)
    single = value_and_gradients(create(temperature), z0.float(), z1.float())
    bound = {0.07: 5e-3, 0.1: 5e-4, 0.5: 1e-5}[temperature]
    for found, expected in zip(single[1:], exact[1:], strict=True):
        assert (found - expected).norm() <= bound * expected.norm()
    torch.testing.assert_close(single[0].double(), exact[0], rtol=1e-5, atol=1e-6)
