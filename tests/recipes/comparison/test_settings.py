import pytest

from rkdo_plugin.recipes.comparison.settings import ComparisonSettings, closest


def test_lengths_are_the_epochs_that_come_closest():
    settings = ComparisonSettings(budget=110, lengths=[1, 0.25, 0.5])
    assert settings.epochs(11) == [2, 5, 10]  # of 2.5, 5 and 10
    for steps in range(1, 60):
        error = abs(closest(steps, 7) * 7 - steps)
        assert error == min(abs(epochs * 7 - steps) for epochs in range(1, 10))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "`budget` to be at least 1 but got 0"),
        ({"seeds": 0}, "`seeds` to be at least 1"),
        ({"seeds": 1001}, "at most 1000, where the seeds of the tuning begin"),
        ({"lengths": [0.5]}, "1 the largest of them, but got"),
        ({"lengths": [1, 1]}, "`lengths` to be different numbers"),
        ({"temperatures": []}, "`temperatures` to be different numbers"),
        ({"learning_rates": [0.0]}, "`learning_rates` to be a finite positive"),
        (
            {"precision": "bf16_mixed"},
            "`precision` to be one of '32-true', 'bf16-mixed'",
        ),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ComparisonSettings(**{"budget": 100} | options)


def test_a_budget_too_small_for_its_lengths_is_refused():
    message = r"`budget` of which .* got 60 steps, with 39 an epoch; 156 are enough"
    with pytest.raises(ValueError, match=message):
        ComparisonSettings(budget=60).epochs(39)
    assert ComparisonSettings(budget=156).epochs(39) == [1, 2, 4]
