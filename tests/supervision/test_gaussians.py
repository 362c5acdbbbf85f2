"""Perplexities that there are not, and degrees of two views."""

import pytest
import torch

from rkdo_plugin import IConLoss, create_loss
from rkdo_plugin.supervision import GaussianAffinity

Z = torch.randn(8, 3, generator=torch.manual_seed(0))
X = torch.randn(8, 5, generator=torch.manual_seed(1))


@pytest.mark.parametrize("perplexity", [1.0, 7.0, 8.0, 30.0])
def test_a_perplexity_that_the_batch_does_not_allow_is_refused(perplexity):
    message = rf"above 1 and below the number of candidates, 7, but got {perplexity:g}"
    with pytest.raises(ValueError, match=message):
        create_loss("t-sne", perplexity=perplexity)(Z, targets=X)


@pytest.mark.parametrize("candidates", ["all", "with_self"])
def test_degrees_of_two_views_are_those_of_twice_as_many_samples(candidates):
    criterion = IConLoss(
        1.0, GaussianAffinity(degrees=True), "clusters", candidates=candidates
    )
    z0, z1 = Z.double(), Z.double().flip(0)
    both, features = torch.cat([z0, z1]), torch.cat([X, X])
    torch.testing.assert_close(criterion(z0, z1, X), criterion(both, targets=features))


def test_degrees_do_not_go_with_joint():
    criterion = IConLoss(1.0, GaussianAffinity(degrees=True), joint=True)
    with pytest.raises(ValueError, match="no weights by `degrees` with `joint`"):
        criterion(Z, targets=X)
