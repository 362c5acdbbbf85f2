import pytest
from runs import train


def test_dino_refuses_a_loss_of_two_tensors(tmp_path, settings):
    with pytest.raises(
        TypeError, match=r"lists of views.* but got NTXentLoss\.forward"
    ):
        train("dino", "ntxent", out=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run").exists()
