"""What a saved response field must agree with before anything of it is loaded."""

from typing import Any

FORMAT = 1  # a newer one is refused
EXTRA = "_extra_state"  # torch's name for what is saved beside the buffers
REASONS = {
    "fingerprint": ": the data set is another",
    "mixture": ": its rows go on by another recursion; create it with mixture='{}'",
}


def extra_state(state: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """What a saved field must agree with; older files have none but linear fields."""
    saved: dict[str, Any] = {"mixture": "linear"} | state[prefix + EXTRA]
    return saved


def check_saved(
    state: dict[str, Any], prefix: str, own: dict[str, Any], buffers: list[str]
) -> None:
    """Compare a saved field with the one that is to take it over.

    Args:
        state: Maps names to tensors; the field's names start with `prefix`.
        prefix: The field's prefix in a larger module's state.
        own: The field's own extra state.
        buffers: Names of the field's tensors.

    Raises:
        ValueError: The saved field is not whole, of a newer version, of another size,
            of another mixture or of other data.
    """
    names = [prefix + name for name in (*buffers, EXTRA)]
    missing = [name for name in names if name not in state]
    if len(missing) == len(names):
        return  # no field at all: torch says so, if that is an error
    if prefix + EXTRA in missing:
        raise ValueError(f"Expected a whole saved field but it lacks {missing}")
    saved = extra_state(state, prefix)
    if saved["format"] > FORMAT:
        raise ValueError(
            f"Expected a field of format {FORMAT} or older but got format "
            f"{saved['format']}: it was saved by a newer version of rkdo-plugin"
        )
    for name, value in own.items():
        other = saved[name]
        # Without a data set wrapped so far, there is no fingerprint to compare.
        if name == "format" or value is None or other is None or value == other:
            continue
        raise ValueError(
            f"Expected a saved field with {name} {value} but it has {other}"
            + REASONS.get(name, "").format(other)
        )
    if missing:
        raise ValueError(f"Expected a whole saved field but it lacks {missing}")
