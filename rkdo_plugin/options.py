"""Checks of options, for losses and fields alike."""

from collections.abc import Collection


def choose(name: str, value: str, choices: Collection[str]) -> str:
    """Return the choice that a value names; hyphens count as underscores.

    Raises:
        ValueError: There is no such choice.
    """
    for spelling in (value, str(value).replace("-", "_")):
        if spelling in choices:
            return spelling
    known = ", ".join(repr(choice) for choice in choices)
    raise ValueError(f"Expected `{name}` to be one of {known} but got {value!r}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise unless the value is a number in [low, high]."""
    _check_number(name, value)
    if not low <= value <= high:
        raise ValueError(
            f"Expected `{name}` to be a number in [{low}, {high}] but got {value}"
        )


def check_momentum(value: float) -> None:
    """Raise unless the momentum of a moving average is a number in [0, 1)."""
    _check_number("momentum", value)
    if not 0 <= value < 1:
        raise ValueError(
            f"Expected `momentum` to be a number in [0, 1) but got {value}"
        )


def check_positive(name: str, value: float) -> None:
    """Raise unless the value is a finite number above 0."""
    _check_number(name, value)
    if not 0 < value < float("inf"):
        raise ValueError(
            f"Expected `{name}` to be a finite positive number but got {value}"
        )


def check_count(name: str, value: int) -> None:
    """Raise unless the value is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"Expected `{name}` to be a positive integer but got {value}")


def check_temperature(temperature: float, name: str = "temperature") -> None:
    """Raise unless the temperature is a finite number of at least 1e-8."""
    _check_number(name, temperature)
    if not 1e-8 <= temperature < float("inf"):
        raise ValueError(
            f"Expected `{name}` to be a finite positive number, at least 1e-8, "
            f"but got {temperature}"
        )


def _check_number(name: str, value: float) -> None:
    # A learnable parameter would pass as a number and silently get no gradient.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"Expected `{name}` to be a number but got {type(value).__name__}"
        )
