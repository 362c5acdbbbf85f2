import math

import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import NTXentLoss
from small_batch import Z0, Z1
from torch.nn import functional

from rkdo_plugin import IConLoss, RKDOLoss, create_loss
from rkdo_plugin.kernels import Gaussian
from rkdo_plugin.supervision import (
    Classes,
    GaussianAffinity,
    Given,
    Itself,
    Labels,
    Neighbors,
    Pairs,
    Perplexity,
    RandomWalk,
    Similarity,
    Spectral,
)

views = st.tuples(
    st.integers(2, 40), st.integers(1, 48), st.integers(0, 2**31 - 1)
).map(lambda s: torch.randn(2, s[0], s[1], generator=torch.manual_seed(s[2])))
Z = torch.randn(8, 3, generator=torch.manual_seed(0))
FEATURES = torch.randn(8, 5, generator=torch.manual_seed(1))


def value_and_gradients(criterion, z):
    z = z.clone().requires_grad_()
    loss = criterion(*z.unbind())
    return loss.detach(), torch.autograd.grad(loss, z)[0]


# In one dimension the gradient is 0, and what Lightly returns is its rounding.
@given(z=views.filter(lambda z: z.shape[2] > 1), temperature=st.floats(0.1, 5))
@settings(max_examples=100)
def test_equals_lightly_in_single_precision(z, temperature):
    # Lightly in double precision: its own rounding in float32 is as large as ours.
    loss, grad = value_and_gradients(IConLoss(temperature), z)
    expected, expected_grad = value_and_gradients(NTXentLoss(temperature), z.double())
    torch.testing.assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    # Per unit of direction: an embedding's gradient grows as its norm shrinks.
    norm = z.norm(dim=2, keepdim=True)
    expected_grad = expected_grad * norm
    scale = max(1, expected_grad.abs().max().item())  # at 8 a float32 steps by 1e-6
    torch.testing.assert_close(
        grad.double() * norm, expected_grad, rtol=0, atol=1e-6 * scale
    )


@given(z=views, temperature=st.floats(0.01, 5))
@settings(max_examples=50)
def test_equals_lightly_in_double_precision(z, temperature):
    loss, grad = value_and_gradients(IConLoss(temperature), z.double())
    expected, expected_grad = value_and_gradients(NTXentLoss(temperature), z.double())
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    scale = expected_grad.abs().max().item() + 1
    torch.testing.assert_close(grad, expected_grad, rtol=0, atol=1e-11 * scale)


@given(
    z=views.map(lambda z: z[:, :12]),
    temperature=st.floats(0.05, 2),
    kernel=st.sampled_from(["cosine", "student_t"]),
    debias=st.sampled_from([0.0, 0.2, 1.0]),
    candidates=st.sampled_from(["all", "cross"]),
)
@settings(max_examples=60)
def test_value_is_that_of_a_naive_loop(z, temperature, kernel, debias, candidates):
    criterion = IConLoss(
        temperature, kernel=kernel, debias=debias, candidates=candidates
    )
    expected = oracles.icon_value(*z.unbind(), temperature, kernel, debias, candidates)
    assert criterion(*z.double().unbind()).item() == pytest.approx(
        expected, rel=1e-10, abs=1e-10
    )


@pytest.mark.parametrize("kernel", ["cosine", "student_t"])
@pytest.mark.parametrize("debias", [0.0, 0.2])
@pytest.mark.parametrize("candidates", ["all", "cross"])
@pytest.mark.parametrize("detached", [None, 0, 1])
def test_gradient_is_that_of_finite_differences(kernel, debias, candidates, detached):
    z = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    z0, z1 = (
        view.clone().requires_grad_(side != detached) for side, view in enumerate(z)
    )
    criterion = IConLoss(0.3, kernel=kernel, debias=debias, candidates=candidates)
    assert torch.autograd.gradcheck(criterion, (z0, z1))


def test_debiasing_towards_nothing_is_the_one_hot_loss():
    z0, z1 = torch.randn(2, 9, 4, dtype=torch.float64).unbind()
    nearly = IConLoss(debias=1e-13)(z0, z1)
    torch.testing.assert_close(nearly, IConLoss()(z0, z1), rtol=1e-10, atol=0)


def test_both_directions_read_the_targets():
    options = {"supervision": "labels", "candidates": "cross"}
    labels = torch.tensor([0, 1, 0, 1, 2, 2, 0])
    there, back = (
        IConLoss(**options)(Z0, Z1, labels),
        IConLoss(**options)(Z1, Z0, labels),
    )
    both = IConLoss(**options, symmetric=True)(Z0, Z1, labels)
    torch.testing.assert_close(both, (there + back) / 2)
    assert abs(there - back) > 0.01


def test_student_t_survives_embeddings_far_from_the_origin():
    z0, z1 = torch.randn(2, 16, 4, dtype=torch.float64).unbind()
    criterion = IConLoss(kernel="student_t")
    torch.testing.assert_close(
        criterion((z0 + 1000).float(), (z1 + 1000).float()),
        criterion(z0, z1).float(),
        rtol=1e-3,
        atol=0,
    )


def test_scaling_an_embedding_changes_nothing_under_the_cosine():
    z0, z1 = torch.randn(2, 8, 4, dtype=torch.float64).unbind()
    torch.testing.assert_close(
        IConLoss()(z0, z1), IConLoss()(7 * z0, functional.normalize(z1))
    )


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "cosin"},
        {"supervision": "labels of a kind nobody knows"},
        {"divergence": "ks"},
        {"candidates": "both"},
    ],
)
def test_an_unknown_choice_lists_the_known_ones(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` to be one of '.*' but got"):
        IConLoss(**options)


@pytest.mark.parametrize(
    ("name", "kind"),
    {
        "pairs": Pairs,
        "labels": Labels,
        "classes": Classes,
        "neighbors": Neighbors,
        "gaussian": GaussianAffinity,
        "perplexity": Perplexity,
        "similarity": Similarity,
        "spectral": Spectral,
        "given": Given,
        "itself": Itself,
    }.items(),
)
def test_every_supervision_has_a_name(name, kind):
    assert type(IConLoss(supervision=name).supervision) is kind


@pytest.mark.parametrize("debias", [-0.1, 1.1, float("nan")])
def test_debias_outside_the_unit_interval_is_refused(debias):
    with pytest.raises(ValueError, match=r"`debias` to be a number in \[0, 1\]"):
        IConLoss(debias=debias)


def test_a_learnt_temperature_starts_where_it_is_told():
    learnt = IConLoss(0.3, learnable_temperature=True).double()
    torch.testing.assert_close(learnt(Z0, Z1), IConLoss(0.3)(Z0, Z1), rtol=1e-6, atol=0)
    assert learnt.temperature == pytest.approx(0.3)
    assert [name for name, _ in learnt.named_parameters()] == ["log_temperature"]


@pytest.mark.parametrize("create", [IConLoss, RKDOLoss])
def test_a_temperature_may_be_scheduled(create):
    criterion = create(0.5)
    criterion.temperature = 0.2
    torch.testing.assert_close(criterion(Z0, Z1), create(0.2)(Z0, Z1))
    with pytest.raises(ValueError, match="finite positive number"):
        criterion.temperature = 0
    with pytest.raises(AttributeError, match="it is learnt"):
        IConLoss(learnable_temperature=True).temperature = 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symmetric": True}, "`symmetric` with candidates='cross' but got 'all'"),
        ({"joint": True, "divergence": "js"}, "divergence='kl' with `joint`"),
        ({"kernel": Gaussian(0), "divergence": "tv"}, "divergence='kl' with Gaussian"),
        ({"kernel": Gaussian(math.inf), "joint": True}, "no limit with `joint`"),
        (
            {"kernel": "student_t", "learnable_temperature": True},
            "kernel 'cosine', 'dot' or 'gaussian' with `learnable_temperature`",
        ),
        ({"memory_bank_size": (16, 3)}, "candidates='cross' with `memory_bank_size`"),
        (
            {"memory_bank_size": (16, 3), "candidates": "cross", "symmetric": True},
            "no `symmetric` with `memory_bank_size`",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        IConLoss(**options)


@pytest.mark.parametrize(
    ("criterion", "z1", "targets", "message"),
    [
        (IConLoss(supervision="itself"), None, None, "candidates='with_self'"),
        (IConLoss(candidates="cross"), None, torch.arange(8), "two views .* got one"),
        (IConLoss(joint=True), Z, None, "supervision 'gaussian' or 'perplexity'"),
        (
            IConLoss(candidates="cross", supervision=RandomWalk(Neighbors(2))),
            Z,
            FEATURES,
            "each other's candidates",
        ),
        (create_loss("moco", memory_bank_size=(9, 4)), Z, None, "queue's size 4 .* 3"),
    ],
)
def test_calls_that_do_not_fit_are_refused(criterion, z1, targets, message):
    with pytest.raises(ValueError, match=message):
        criterion(Z, z1, targets)
