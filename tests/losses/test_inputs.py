"""What holds for every criterion: precision, chunks, degenerate and bad input."""

import math

import pytest
import torch

from rkdo_plugin import IConLoss, RKDOLoss, rowwise

CRITERIA = {
    "icon": lambda t=0.5: IConLoss(t),
    "icon-cross": lambda t=0.5: IConLoss(t, candidates="cross"),
    "icon-student-debias": lambda t=0.5: IConLoss(t, kernel="student_t", debias=0.2),
    "rkdo": lambda t=0.5: RKDOLoss(t),
    "rkdo-all": lambda t=0.5: RKDOLoss(t, candidates="all"),
    "rkdo-detached": lambda t=0.5: RKDOLoss(t, detach_target=True),
}
every_criterion = pytest.mark.parametrize(
    "create", CRITERIA.values(), ids=CRITERIA.keys()
)


def randn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.manual_seed(0))


def value_and_gradients(criterion, z0, z1):
    z0, z1 = z0.detach().requires_grad_(), z1.detach().requires_grad_()
    loss = criterion(z0, z1)
    return (loss.detach(), *torch.autograd.grad(loss, (z0, z1)))


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


@every_criterion
@pytest.mark.parametrize("temperature", [0.01, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "z0_z1",
    [
        lambda z: (z, z),
        lambda z: (z, -z),
        lambda z: (z[:1].expand_as(z), z[:1].expand_as(z)),
        lambda z: (z * 0, z * 0),
        lambda z: (z * 0, z),
        lambda z: (z * 100, z.flip(0) * 100),
    ],
    ids=["same-views", "opposite", "identical", "zero", "half-zero", "large"],
)
def test_degenerate_embeddings_have_finite_gradients(create, temperature, dtype, z0_z1):
    z0, z1 = z0_z1(randn(8, 4, dtype=torch.float32).to(dtype))
    for result in value_and_gradients(create(temperature), z0.clone(), z1.clone()):
        assert result.isfinite().all()


@every_criterion
def test_half_precision_and_autocast_compute_in_float32(create):
    z0, z1 = randn(2, 16, 8).unbind()
    for dtype in (torch.float16, torch.bfloat16):
        low0, low1 = z0.to(dtype), z1.to(dtype)
        expected = create()(low0.double(), low1.double()).float()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = create()(low0, low1)
        assert loss.dtype is torch.float32
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


@every_criterion
def test_evaluation_leaves_no_graph(create):
    z0, z1 = randn(2, 8, 4).requires_grad_().unbind()
    with torch.no_grad():
        assert not create()(z0, z1).requires_grad
    assert not create()(z0.detach(), z1.detach()).requires_grad


@every_criterion
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_embeddings_never_give_a_plausible_number(create, bad):
    z0, z1 = randn(2, 8, 4).unbind()
    z1[3, 2] = bad
    assert create()(z0, z1).isnan()


@every_criterion
@pytest.mark.parametrize(
    ("z0", "z1", "error", "message"),
    [
        (randn(4, 3), randn(5, 3), ValueError, r"one shape .* \(4, 3\) and \(5, 3\)"),
        (randn(4, 3), randn(4, 2), ValueError, r"one shape .* \(4, 3\) and \(4, 2\)"),
        (randn(4), randn(4), ValueError, r"`z0` to have shape \(B, D\) but got \(4,\)"),
        (randn(4, 3), randn(4, 3, 1), ValueError, r"`z1` .* but got \(4, 3, 1\)"),
        (randn(1, 3), randn(1, 3), ValueError, "at least 2 samples.*but got 1"),
        (randn(0, 3), randn(0, 3), ValueError, "at least 2 samples.*but got 0"),
        (torch.ones(4, 3).long(), randn(4, 3), TypeError, "`z0` .* torch.int64"),
        ([randn(4, 3)], randn(4, 3), TypeError, "`z0` to be a tensor .* got list"),
    ],
)
def test_bad_embeddings_are_named(create, z0, z1, error, message):
    with pytest.raises(error, match=message):
        create()(z0, z1)


@every_criterion
@pytest.mark.parametrize("temperature", [0, -1, 1e-9, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(create, temperature):
    with pytest.raises(
        ValueError, match="`temperature` to be a finite positive number"
    ):
        create(temperature)


@every_criterion
@pytest.mark.parametrize(
    "temperature", [True, "0.5", None, torch.nn.Parameter(torch.ones(()))]
)
def test_a_temperature_that_is_no_number_is_refused(create, temperature):
    with pytest.raises(TypeError, match="`temperature` to be a number but got"):
        create(temperature)


@every_criterion
def test_a_second_derivative_is_refused(create):
    z0, z1 = randn(2, 8, 4).requires_grad_().unbind()
    with pytest.raises(RuntimeError, match="once but got create_graph=True"):
        torch.autograd.grad(create()(z0, z1), z0, create_graph=True)


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
