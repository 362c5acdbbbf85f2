"""What every criterion does with embeddings: of any dtype, degenerate, or bad."""

import math

import pytest
import torch
from two_view_criteria import every_criterion, randn, value_and_gradients

from rkdo_plugin import IConLoss, RecursiveLoss, RKDOLoss

IDS = torch.arange(6)


def across(divergence):
    return IConLoss(kernel="dot", divergence=divergence, candidates="cross")


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


def test_eight_bits_are_a_floating_dtype():
    z0, z1 = (z.to(torch.float8_e4m3fn) for z in randn(2, 16, 8).unbind())
    torch.testing.assert_close(IConLoss()(z0, z1), IConLoss()(z0.float(), z1.float()))


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e19, 1e30])
def test_the_cosine_knows_no_scale(scale):
    """Squares of such numbers overflow in single precision, or vanish."""
    z0, z1 = randn(2, 8, 4, dtype=torch.float32).unbind()
    found = value_and_gradients(IConLoss(), z0 * scale, z1)
    value, grad, other = value_and_gradients(IConLoss(), z0, z1)
    torch.testing.assert_close(found, (value, grad / scale, other), rtol=1e-5, atol=0)


@every_criterion
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_backward_pass_under_autocast_is_the_same(create, dtype):
    z0, z1 = (z.requires_grad_() for z in randn(2, 16, 8, dtype=torch.float32).unbind())
    expected = torch.autograd.grad(create()(z0, z1), (z0, z1))
    with torch.autocast("cpu", dtype=dtype):
        found = torch.autograd.grad(create()(z0, z1), (z0, z1))
    assert all(map(torch.equal, found, expected))


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


@pytest.mark.parametrize(
    ("criterion", "bad", "targets"),
    [
        (across("tv"), math.inf, None),
        (across("hellinger"), math.inf, None),
        (IConLoss(kernel="clusters"), -math.inf, None),
        (RecursiveLoss(IConLoss(kernel="clusters", debias=0.1)), -math.inf, None),
        (IConLoss(1.0, "classes", "dot"), math.inf, torch.arange(4)),
    ],
)
def test_what_an_infinite_logit_leaves_is_no_plausible_number(criterion, bad, targets):
    """Its probability is 0: of negative products, or of a class that no row has."""
    z0, z1 = -torch.rand(4, 3), torch.rand(4 if targets is None else 5, 3)
    z1[-1, 0] = bad
    assert criterion(z0, z1, targets).isnan()


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
        (randn(4, 0), randn(4, 0), ValueError, r"\(B, D\) but got \(4, 0\)"),
        (randn(4, 3), randn(4, 3).to_sparse(), TypeError, "`z1` .* torch.sparse_coo"),
        (torch.ones(4, 3).long(), randn(4, 3), TypeError, "`z0` .* torch.int64"),
        ([randn(4, 3)], randn(4, 3), TypeError, "`z0` to be a tensor .* got list"),
    ],
)
def test_bad_embeddings_are_named(create, z0, z1, error, message):
    with pytest.raises(error, match=message):
        create()(z0, z1)


@pytest.mark.parametrize("criterion", [IConLoss(), RKDOLoss()])
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ((IDS, IDS[:5]), r"two vectors of 6 integers but got one of shape \(5,\)"),
        ((IDS, IDS.float()), r"of shape \(6,\) and torch.float32"),
        ((IDS > 0, IDS), r"of shape \(6,\) and torch.bool"),
        ((IDS * 1j, IDS), r"of shape \(6,\) and torch.complex64"),
        ((IDS[:, None], IDS), r"of shape \(6, 1\)"),
        ((IDS,), "of the first and of the second view, but got 1"),
    ],
)
def test_other_ids_are_refused(criterion, ids, message):
    with pytest.raises(ValueError, match=message):
        criterion(*randn(2, 6, 4), sample_ids=ids)
