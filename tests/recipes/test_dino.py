import warnings

import pytest
from runs import train
from torch import nn

from rkdo_plugin import create_recipe


def test_dino_refuses_a_loss_of_two_tensors(tmp_path, settings):
    with pytest.raises(
        TypeError, match=r"lists of views.* but got NTXentLoss\.forward"
    ):
        train("dino", "ntxent", out=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run").exists()


def test_dino_is_created_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_recipe("dino", prototypes=8)


def test_small_crops_that_the_encoder_does_not_take_are_refused():
    encoder = nn.Sequential(nn.Conv2d(3, 4, 15), nn.AdaptiveAvgPool2d(1))
    with pytest.raises(ValueError, match=r"`local_size` .* Sequential .* with 14 it"):
        create_recipe("dino", encoder=encoder, image_size=28)
    create_recipe("dino", encoder=encoder, image_size=28, local_views=0)
