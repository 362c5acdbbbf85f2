"""Options out of range, wherever they are given."""

import math

import pytest
import torch
from two_view_criteria import every_criterion

from rkdo_plugin import create_loss
from rkdo_plugin.kernels import Gaussian, PowerLaw, StudentT
from rkdo_plugin.supervision import (
    GaussianAffinity,
    Neighbors,
    Perplexity,
    RandomWalk,
    Similarity,
)


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


@pytest.mark.parametrize(
    "create",
    [
        lambda: Gaussian(-1),
        lambda: Gaussian(math.nan),
        lambda: StudentT(0),
        lambda: StudentT(math.inf),
        lambda: PowerLaw(0),
        lambda: GaussianAffinity(0),
        lambda: Perplexity(-3),
        lambda: Similarity(0),
        lambda: Neighbors(0),
        lambda: Neighbors(2.5),
        lambda: RandomWalk(Neighbors(), steps=0),
        lambda: create_loss("moco", memory_bank_size=(0, 8)),
    ],
)
def test_options_out_of_range_are_refused(create):
    with pytest.raises(
        ValueError, match=r"Expected `.*` to be a .*positive .* but got"
    ):
        create()
