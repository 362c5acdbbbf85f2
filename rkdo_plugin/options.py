"""Checks of options, for losses and fields alike."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def choose(name: str, value: str, choices: Collection[str]) -> str:
    """Return the choice that a value names; hyphens count as underscores.

    Raises:
        ValueError: There is no such choice.
    """
    if isinstance(value, str):
        for spelling in (value, value.replace("-", "_")):
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


def check_below_one(name: str, value: float) -> None:
    """Raise unless the value is a number in [0, 1)."""
    _check_number(name, value)
    if not 0 <= value < 1:
        raise ValueError(f"Expected `{name}` to be a number in [0, 1) but got {value}")


def check_positive(name: str, value: float) -> None:
    """Raise unless the value is a finite number above 0."""
    _check_number(name, value)
    if not 0 < value < float("inf"):
        raise ValueError(
            f"Expected `{name}` to be a finite positive number but got {value}"
        )


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise unless the value is a finite number of at least a least value."""
    _check_number(name, value)
    if not least <= value < float("inf"):
        raise ValueError(
            f"Expected `{name}` to be a finite number, at least {least}, but got "
            f"{value}"
        )


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise unless the value is an integer of at least 1, or of another least value."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least:
        kind = "" if whole else "an integer of "
        raise ValueError(
            f"Expected `{name}` to be {kind}at least {least} but got {value!r}"
        )


def check_type(name: str, value: object, kinds: Any, words: str | None = None) -> None:
    """Raise a TypeError unless the value is an instance of a type, or of one of some.

    A class is none, unless it is called for, and True and False are no integers.

    Args:
        name: The argument's name.
        value: What was given for it.
        kinds: A type, or a tuple of types.
        words: What they are called in the message; the type's name if not given.
    """
    boolean = isinstance(value, bool) and kinds is not bool
    a_class = isinstance(value, type) and kinds is not Callable
    if boolean or a_class or not isinstance(value, kinds):
        words = f"a {kinds.__name__}" if words is None else words
        raise TypeError(f"Expected `{name}` to be {words} but got {_described(value)}")


def check_flags(**flags: bool) -> None:
    """Raise a TypeError unless all values, by their names, are True or False."""
    for name, value in flags.items():
        check_type(name, value, bool, "True or False")


def check_pair(name: str, value: object, words: str) -> None:
    """Raise unless the value is a tuple or a list of two; words say of what."""
    check_type(name, value, (tuple, list), words)
    if isinstance(value, tuple | list) and len(value) != 2:
        raise ValueError(f"Expected `{name}` to be {words} but got {len(value)}")


def holds_integers(tensor: "Tensor") -> bool:
    """Whether the numbers of a tensor are integers, and not True and False."""
    import torch  # here: `rkdo --help` reads this file

    real = tensor.is_floating_point() or tensor.is_complex()
    return not real and tensor.dtype != torch.bool


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


def _described(value: object) -> str:
    if value is None or isinstance(value, str | bool):
        return repr(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return type(value).__name__
