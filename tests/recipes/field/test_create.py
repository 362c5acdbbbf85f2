"""A field as a run's settings ask for it."""

import pytest

from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.field.create import FieldSettings, create_field_callback

LOG_LINEAR = FieldSettings(mixture="log-linear")


@pytest.fixture(scope="module")
def data():
    return load_data("digits", limit=64)


def test_given_neighbours_are_followed_as_far_as_they_deserve_it(data):
    callback = create_field_callback("pixels", FieldSettings(), data, 8, epochs=1)
    assert callback.field.field_weight == "auto"
    assert callback.field.prior_share.eq(1).all()
    assert callback.field.trust == 0  # there is no evidence yet
    assert callback.field.evidence.returned > 0.15


def test_a_weight_that_is_given_is_kept(data):
    settings = FieldSettings(field_weight=0.25)
    callback = create_field_callback("one-hot", settings, data, 8, epochs=1)
    assert callback.field.field_weight == 0.25


def test_the_mixture_reaches_the_field(data):
    field = create_field_callback("pixels", LOG_LINEAR, data, dim=8, epochs=1).field
    assert field.mixture == "log_linear"
    assert field.prior.any(dim=1).all()


def test_a_log_linear_field_needs_given_neighbours(data):
    with pytest.raises(ValueError, match=r"given neighbours .* but got --field one-"):
        create_field_callback("one-hot", LOG_LINEAR, data, dim=8, epochs=1)
