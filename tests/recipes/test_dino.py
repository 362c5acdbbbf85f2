import warnings

import pytest
from runs import train

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
