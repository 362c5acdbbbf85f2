"""Settings of a run that are out of range."""

import pytest
from runs import train

from rkdo_plugin.recipes.training.settings import Execution, RunSettings


@pytest.mark.parametrize(
    ("name", "value", "least"),
    [
        ("epochs", -1, 1),
        ("epochs", 0, 1),
        ("batch_size", 0, 1),
        ("limit", 0, 1),
        ("accumulate", 0, 1),
        ("seed", -1, 0),
        ("workers", -1, 0),
        ("devices", 0, 1),
        ("num_nodes", 0, 1),
        ("checkpoint_every", 0, 1),
        ("knn_every", 0, 1),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_is_written(
    name, value, least, tmp_path
):
    message = f"Expected `{name}` to be at least {least} but got {value}"
    with pytest.raises(ValueError, match=message):
        train(out=str(tmp_path / "run"), **{name: value})
    assert not (tmp_path / "run").exists()


def test_a_number_of_epochs_is_whole():
    with pytest.raises(ValueError, match=r"an integer of at least 1 but got 1\.5"):
        RunSettings(epochs=1.5)


def test_no_workers_are_enough_and_what_is_optional_may_be_none():
    execution = Execution(workers=0, checkpoint_every=None, knn_every=None)
    assert execution.processes == 1
    assert RunSettings(limit=None, seed=0).limit is None
