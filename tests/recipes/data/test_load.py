import numpy as np
import pytest
from idx_files import fashion

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import as_arrays


def test_limit_keeps_the_first_images():
    everything = load_data("digits")
    limited = load_data("digits", limit=7)
    for one, other in zip(
        as_arrays(limited.train, 28), as_arrays(everything.train, 28), strict=True
    ):
        np.testing.assert_array_equal(one, other[:7])
    assert len(limited.test) == 360


def test_the_environment_variable_comes_first(tmp_path, monkeypatch):
    written = fashion(tmp_path / "fashion-mnist")
    monkeypatch.setenv("RKDO_DATA", str(tmp_path))
    pixels, _ = as_arrays(load_data("fashion-mnist").train, 28)
    np.testing.assert_array_equal(pixels[..., 0], written["train"])


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one(limit):
    with pytest.raises(ValueError, match=f"at least 1 but got {limit}"):
        load_data("digits", limit=limit)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no data named 'mnist'.*cifar10.*digits"):
        load_data("mnist")
