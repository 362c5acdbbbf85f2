import pytest

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.field.create import FieldSettings, create_field_callback

LOG_LINEAR = FieldSettings(mixture="log-linear")


def test_the_mixture_reaches_the_field():
    data = load_data("digits", limit=64)
    field = create_field_callback("pixels", LOG_LINEAR, data, dim=8, epochs=1).field
    assert field.mixture == "log_linear"
    assert field.prior.any(dim=1).all()


def test_a_log_linear_field_needs_given_neighbours():
    data = load_data("digits", limit=64)
    with pytest.raises(ValueError, match=r"given neighbours .* but got --field one-"):
        create_field_callback("one-hot", LOG_LINEAR, data, dim=8, epochs=1)
