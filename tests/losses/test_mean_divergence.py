"""Any kernel with any divergence, by its formula and by differences."""

import itertools

import pytest
import torch
from scipy.special import rel_entr
from small_batch import Z0, Z1, B, X, matrix

from rkdo_plugin import IConLoss
from rkdo_plugin.divergences import DIVERGENCES, FLOOR
from rkdo_plugin.kernels import Clusters, Cosine, Dot, Gaussian, PowerLaw, StudentT
from rkdo_plugin.supervision import GaussianAffinity, Similarity

KERNELS = [Cosine(), Dot(), Gaussian(0.8), StudentT(2.0), PowerLaw(3.0), Clusters()]


@pytest.mark.parametrize(
    ("kernel", "divergence"), [*itertools.product(KERNELS, DIVERGENCES)], ids=str
)
def test_the_value_is_the_divergence_of_p_and_q(kernel, divergence):
    criterion = IConLoss(0.7, GaussianAffinity(1.0), kernel, divergence)
    factors = kernel.factors(Z0, Z0)
    log_s, _ = kernel.log_similarity(factors[0] @ factors[1].T)
    q = (log_s / 0.7).fill_diagonal_(-torch.inf).softmax(dim=1).numpy()
    p = matrix(GaussianAffinity(1.0), X).numpy()
    middle = (p + q) / 2
    expected = {
        "kl": rel_entr(p, q),
        "reverse_kl": rel_entr(q, p.clip(FLOOR)),
        "js": (rel_entr(p, middle) + rel_entr(q, middle)) / 2,
        "tv": abs(p - q) / 2,
        "hellinger": (p**0.5 - q**0.5) ** 2 / 2,
    }[divergence]
    found = criterion(Z0, targets=X).item()
    assert found == pytest.approx(expected.sum() / B, rel=1e-9)


@pytest.mark.parametrize(
    ("kernel", "divergence"), [*itertools.product(KERNELS, DIVERGENCES)], ids=str
)
@pytest.mark.parametrize("candidates", ["all", "cross", "with_self"])
def test_the_gradient_is_that_of_differences(kernel, divergence, candidates):
    if isinstance(kernel, PowerLaw) and candidates == "with_self":
        kernel = StudentT(0.5)  # an anchor coincides with itself
    criterion = IConLoss(
        0.7, Similarity(2.0), kernel, divergence, 0.1, candidates=candidates
    )
    z0, z1 = (z.clone().requires_grad_() for z in (Z0, Z1))
    assert torch.autograd.gradcheck(lambda a, b: criterion(a, b, X), (z0, z1))
