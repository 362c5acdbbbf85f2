"""What a saved response field must agree with before anything of it is loaded."""

from typing import Any

FORMAT = 2  # any other is refused
EXTRA = "_extra_state"  # torch's name for what is saved beside the buffers


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
        ValueError: The saved field is not whole, of a newer version, of another size
            or of other data.
    """
    names = [prefix + name for name in (*buffers, EXTRA)]
    missing = [name for name in names if name not in state]
    if len(missing) == len(names):
        return  # no field at all: torch says so, if that is an error
    saved = state.get(prefix + EXTRA, {})
    version = saved.get("format", FORMAT)
    if version != FORMAT:
        other = "a newer" if version > FORMAT else "an older"
        raise ValueError(
            f"Expected a field of format {FORMAT} but got format {version}: it was "
            f"saved by {other} version of rkdo-plugin, which can go on with it"
        )
    if missing:
        raise ValueError(f"Expected a whole saved field but it lacks {missing}")
    for name, value in own.items():
        other = saved[name]
        # Without a data set wrapped so far, there is no fingerprint to compare.
        if name == "format" or value is None or other is None or value == other:
            continue
        raise ValueError(
            f"Expected a saved field with {name} {value} but it has {other}"
            + (": the data set is another" if name == "fingerprint" else "")
        )
