import pytest

from rkdo_plugin.plugins.host import host
from rkdo_plugin.plugins.names import did_you_mean


def test_only_a_name_that_is_like_it_is_meant():
    assert did_you_mean("temprature", ["coupling", "temperature"], "--loss.") == (
        " (did you mean --loss.temperature?)"
    )
    assert did_you_mean("q", ["coupling", "temperature"]) == ""
    assert did_you_mean("rkdo", []) == ""


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("loss", "rkdoo", "rkdo"),
        ("recipe", "simclear", "simclr"),
        ("encoder", "resnet81", "resnet18"),
        ("exporter", "onxx", "onnx"),
    ],
)
def test_an_unknown_name_of_any_kind_is_answered_with_the_one_meant(kind, name, meant):
    message = rf"no {kind} named '{name}'; known: .* \(did you mean {meant}\?\)"
    with pytest.raises(ValueError, match=message):
        host().factory(kind, name)
