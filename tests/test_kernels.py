"""Kernels against their formulas, pair by pair."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rkdo_plugin import IConLoss
from rkdo_plugin.kernels import (
    KERNELS,
    Clusters,
    Cosine,
    Dot,
    Gaussian,
    PowerLaw,
    StudentT,
)

SHAPES = st.tuples(
    st.integers(1, 6), st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**31 - 1)
)


def squared(a, c):
    return sum((x - y) ** 2 for x, y in zip(a, c, strict=True))


def norm(a):
    return math.sqrt(sum(x * x for x in a))


def dot(a, c):
    return sum(x * y for x, y in zip(a, c, strict=True))


FORMULAS = [
    (Cosine(), lambda a, c: dot(a, c) / norm(a) / norm(c)),
    (Dot(), dot),
    (Gaussian(1.7), lambda a, c: -squared(a, c) / (2 * 1.7**2)),
    (Gaussian(0), lambda a, c: -squared(a, c)),
    (Gaussian(math.inf), lambda a, c: -squared(a, c)),
    (StudentT(), lambda a, c: -math.log(1 + squared(a, c))),
    (StudentT(4.0), lambda a, c: -2.5 * math.log(1 + squared(a, c) / 4)),
    (StudentT(0.5), lambda a, c: -0.75 * math.log(1 + squared(a, c) / 0.5)),
    (PowerLaw(), lambda a, c: -math.log(squared(a, c))),
    (PowerLaw(5.0), lambda a, c: -2.5 * math.log(squared(a, c))),
]


@pytest.mark.parametrize(
    ("kernel", "formula"), FORMULAS, ids=[str(kernel) for kernel, _ in FORMULAS]
)
@given(shape=SHAPES)
@settings(max_examples=20)
def test_log_similarity_is_the_formula(kernel, formula, shape):
    rows, columns, dim, seed = shape
    generator = torch.manual_seed(seed)
    a = torch.randn(rows, dim, dtype=torch.float64, generator=generator)
    c = torch.randn(columns, dim, dtype=torch.float64, generator=generator)
    factors = kernel.factors(a, c)
    found, _ = kernel.log_similarity(factors[0] @ factors[1].T)
    expected = torch.tensor(
        [[formula(x, y) for y in c.tolist()] for x in a.tolist()], dtype=torch.float64
    )
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernel", [k for k, _ in FORMULAS] + [Clusters()], ids=str)
def test_the_derivative_is_that_of_the_logarithm(kernel):
    generator = torch.manual_seed(0)
    a, c = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator).unbind()
    one, other = kernel.factors(a, c)
    products = one @ other.T
    step = 1e-6
    above, _ = kernel.log_similarity(products + step)
    below, _ = kernel.log_similarity(products - step)
    _, slope = kernel.log_similarity(products.clone())
    slope = torch.ones_like(above) if slope is None else slope
    torch.testing.assert_close(
        (above - below) / (2 * step), slope, rtol=1e-6, atol=1e-8
    )


@given(shape=SHAPES, scale=st.sampled_from([0.0, 1.0, 30.0]))
@settings(max_examples=30)
def test_clusters_lead_somewhere(shape, scale):
    _, samples, clusters, seed = shape
    z = torch.randn(samples, clusters, generator=torch.manual_seed(seed)) * scale
    anchors, candidates = Clusters().factors(z, z)
    q = anchors @ candidates.T
    torch.testing.assert_close(q.sum(dim=1), torch.ones(samples))
    # As often from i to j as from j to i, where all are alike in number.
    torch.testing.assert_close(q, q.T)


def test_an_empty_cluster_has_no_share():
    z = torch.tensor([[300.0, 0.0], [300.0, 0.0]])
    log_s, slope = Clusters().log_similarity(torch.mm(*map_t(Clusters().factors(z, z))))
    torch.testing.assert_close(log_s, torch.full((2, 2), math.log(0.5)))
    assert slope.isfinite().all()


def map_t(factors):
    return factors[0], factors[1].T


def test_coinciding_points_attract_no_more():
    z = torch.zeros(3, 2, requires_grad=True)
    loss = IConLoss(1.0, kernel=PowerLaw(3.0))(z, torch.zeros(3, 2))
    (grad,) = torch.autograd.grad(loss, z)
    assert loss.isfinite()
    assert grad.eq(0).all()


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e4, 1e12])
def test_a_power_law_knows_no_scale(scale):
    z = torch.randn(9, 4)
    results = []
    for factor in (1, scale):
        z0 = (z * factor).requires_grad_()
        loss = IConLoss(1.0, kernel=PowerLaw(3.0))(z0, z.flip(0) * factor)
        (grad,) = torch.autograd.grad(loss, z0)
        results.append((loss.detach(), grad * factor))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


def test_every_kernel_has_a_name():
    assert {type(kernel) for kernel, _ in FORMULAS} | {Clusters} == {*KERNELS.values()}
