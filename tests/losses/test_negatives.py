"""The loss of two views by half of the products: which they are, and how accurate."""

import math

import oracles
import pytest
import torch
from two_view_criteria import randn, value_and_gradients

from rkdo_plugin import IConLoss, rowwise
from rkdo_plugin.losses.negatives import representable


def near_views(batch, dim):
    """Views that a trained encoder gives: the two of one sample are near."""
    z0, noise = randn(2, batch, dim).unbind()
    return z0, z0 + 0.3 * noise


def dense(z0, z1, temperature):
    """Value and gradients by whole matrices and autograd."""
    z0, z1 = z0.clone().requires_grad_(), z1.clone().requires_grad_()
    unit = torch.nn.functional.normalize(torch.cat([z0, z1]), dim=1)
    logits = (unit @ unit.T / temperature).fill_diagonal_(-torch.inf)
    other = torch.arange(len(unit)).roll(len(z0))
    loss = torch.nn.functional.cross_entropy(logits, other)
    return (loss.detach(), *torch.autograd.grad(loss, (z0, z1)))


@pytest.mark.parametrize("batch", [2, 3, 8, 11])
def test_every_tile_gives_the_dense_result(batch, monkeypatch):
    z0, z1 = randn(2, batch, 5).unbind()
    expected = dense(z0, z1, 0.3)
    assert expected[0] == pytest.approx(
        oracles.icon_value(z0, z1, 0.3, "cosine", 0.0, "all"), rel=1e-12
    )
    for side in range(1, 2 * batch + 2):
        monkeypatch.setattr(rowwise, "CPU_CHUNK", side**2)
        found = value_and_gradients(IConLoss(0.3), z0, z1)
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("batch", [2, 5, 300, 700])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.5, 5])
def test_single_precision_is_exact_to_rounding(batch, temperature):
    # Also of a loss of 1e-8, which softmaxes that hold the positive round to 0.
    z0, z1 = (view.float() for view in near_views(batch, 32))
    exact = value_and_gradients(IConLoss(temperature), z0.double(), z1.double())
    single = value_and_gradients(IConLoss(temperature), z0, z1)
    bound = 1e-6 + 5e-8 / temperature  # logits grow as 1 / temperature
    for found, expected in zip(single, exact, strict=True):
        assert (found - expected).norm() <= bound * expected.norm()


def test_temperatures_beyond_the_range_of_a_dtype_are_computed_otherwise():
    # exp(1 / 0.01) is infinite in single precision.
    assert not representable(24, 0.01, torch.float32)
    assert representable(24, 0.01, torch.float64)
    z0, z1 = randn(2, 12, 4).unbind()
    found = value_and_gradients(IConLoss(0.01), z0.float(), z1.float())
    torch.testing.assert_close(
        found, dense(z0, z1, 0.01), rtol=1e-4, atol=1e-4, check_dtype=False
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_opposite_and_equal_views_stay_finite_at_the_least_temperature(dtype):
    views = 2 * 64
    least = 1 / (-math.log(torch.finfo(dtype).tiny) - math.log(views)) * (1 + 1e-6)
    assert representable(views, least, dtype)
    assert not representable(views, least / (1 + 1e-5), dtype)
    z = torch.ones(64, 3, dtype=dtype)
    z[0] = -1
    one_apart = dense(z.double(), z.double(), least)
    found = value_and_gradients(IConLoss(least), z, z)
    torch.testing.assert_close(found[0].double(), one_apart[0], rtol=1e-5, atol=1e-5)
    assert all(gradient.isfinite().all() for gradient in found[1:])


def test_a_second_backward_pass_gives_the_same():
    z0, z1 = (view.clone().requires_grad_() for view in randn(2, 6, 4).unbind())
    loss = IConLoss()(z0, z1)
    first = torch.autograd.grad(loss, (z0, z1), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, (z0, z1)), first)


class Multiplications(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts those of matrix products."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.__name__.split(".")[0] in ("mm", "addmm", "addmm_"):
            a, b = args[-2:]
            self.count += a.shape[0] * a.shape[1] * b.shape[1]
        return function(*args, **(kwargs or {}))


def test_half_of_the_products_suffice(monkeypatch):
    z0, z1 = randn(2, 128, 16).unbind()
    monkeypatch.setattr(rowwise, "CPU_CHUNK", 16**2)
    with Multiplications() as half:
        value_and_gradients(IConLoss(), z0, z1)
    with Multiplications() as whole:
        # The same, by rows: each of its samples occurs once.
        ids = (torch.arange(128), torch.arange(128))
        value_and_gradients(lambda a, b: IConLoss()(a, b, sample_ids=ids), z0, z1)
    matrix = 256**2 * 16
    assert whole.count == 3 * matrix  # products, and two gradients
    tiles = (1 + 1 / 16) / 2  # of 16 x 16, on and above the diagonal
    assert half.count == (2 * tiles + 1) * matrix
