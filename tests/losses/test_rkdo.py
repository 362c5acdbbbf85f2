import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rkdo_plugin import IConLoss, RecursiveLoss, RKDOLoss

double_views = st.tuples(
    st.integers(2, 12), st.integers(1, 16), st.integers(0, 2**31 - 1)
).map(
    lambda s: torch.randn(
        2, s[0], s[1], dtype=torch.float64, generator=torch.manual_seed(s[2])
    )
)


@given(
    z=double_views,
    temperature=st.floats(0.05, 2),
    coupling=st.floats(0, 1),
    depth=st.integers(1, 5),
    decay=st.floats(0, 0.9),
    candidates=st.sampled_from(["all", "cross"]),
)
@settings(max_examples=60)
def test_value_is_that_of_a_naive_loop(
    z, temperature, coupling, depth, decay, candidates
):
    criterion = RKDOLoss(temperature, coupling, depth, decay, candidates=candidates)
    expected = oracles.rkdo_value(
        *z.unbind(), temperature, coupling, depth, decay, candidates
    )
    assert criterion(*z.unbind()).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(
    z=double_views,
    coupling=st.floats(0.01, 1),  # autograd of 0 log 0 in the oracle is nan
    depth=st.integers(1, 4),
    detach_target=st.booleans(),
)
@settings(max_examples=60)
def test_gradient_is_that_of_autograd_on_whole_matrices(
    z, coupling, depth, detach_target
):
    z = z.requires_grad_()
    criterion = RKDOLoss(0.3, coupling, depth, 0.2, detach_target)
    grad = torch.autograd.grad(criterion(*z.unbind()), z)[0]
    dense = oracles.dense_rkdo(*z.unbind(), 0.3, coupling, depth, 0.2, detach_target)
    expected = torch.autograd.grad(dense, z)[0]
    torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"candidates": "all"}])
@pytest.mark.parametrize("detached", [None, 0, 1])
def test_gradient_is_that_of_finite_differences(options, detached):
    z = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    z0, z1 = (
        view.clone().requires_grad_(side != detached) for side, view in enumerate(z)
    )
    assert torch.autograd.gradcheck(RKDOLoss(0.3, **options), (z0, z1))


@given(z=double_views, depth=st.integers(1, 5), decay=st.floats(0, 0.9))
@settings(max_examples=40)
def test_without_coupling_it_is_icon_at_each_depths_temperature(z, depth, decay):
    z = z.requires_grad_()
    uncoupled = RKDOLoss(0.5, 0, depth, decay)(*z.unbind())
    icon = sum(
        IConLoss(0.5 * (1 - decay * t / depth), candidates="cross")(*z.unbind())
        for t in range(1, depth + 1)
    )
    torch.testing.assert_close(uncoupled, icon, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(uncoupled, z)[0],
        torch.autograd.grad(icon, z)[0],
        rtol=1e-9,
        atol=1e-10,
    )


def test_rkdo_is_the_recursion_over_pairs_across_views():
    z0, z1 = torch.randn(2, 8, 4, dtype=torch.float64).unbind()
    over = RecursiveLoss(IConLoss(candidates="cross"))
    torch.testing.assert_close(over(z0, z1), RKDOLoss()(z0, z1), rtol=1e-12, atol=0)


def test_symmetric_is_the_mean_of_both_directions():
    z0, z1 = torch.randn(2, 9, 4, dtype=torch.float64).unbind()
    both = (RKDOLoss()(z0, z1) + RKDOLoss()(z1, z0)) / 2
    torch.testing.assert_close(RKDOLoss(symmetric=True)(z0, z1), both)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coupling": -0.1}, r"`coupling` to be a number in \[0, 1\] but got -0.1"),
        ({"coupling": 1.5}, r"`coupling` to be a number in \[0, 1\] but got 1.5"),
        ({"depth": 0}, "`depth` to be at least 1"),
        ({"depth": 1.5}, "`depth` to be an integer of at least 1"),
        ({"temperature_decay": -1}, "`temperature_decay` to be a number in"),
        ({"temperature_decay": 1}, "`temperature_decay` to be below 1"),
        ({"candidates": "both"}, "`candidates` to be one of 'all', 'cross'"),
        ({"candidates": "all", "symmetric": True}, "candidates='cross' but got 'all'"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RKDOLoss(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "ntxent"}, "`over` to be an I-Con loss .* but got NTXentLoss"),
        ({"over": IConLoss(divergence="js")}, "divergence 'kl'"),
    ],
)
def test_what_it_cannot_be_over_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RecursiveLoss(**options)


def test_a_second_row_needs_its_targets():
    with pytest.raises(TypeError, match="`targets` to be labels"):
        RecursiveLoss("supcon")(torch.randn(4, 2), torch.randn(4, 2))
    with pytest.raises(ValueError, match="two views with candidates='cross'"):
        RKDOLoss()(torch.randn(4, 2))
