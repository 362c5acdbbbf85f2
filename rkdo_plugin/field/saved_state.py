"""What a saved response field must agree with before anything of it is loaded."""

from typing import Any

from torch import nn

FORMAT = 4  # any other is refused
EXTRA = "_extra_state"  # torch's name for what is saved beside the buffers
REASONS = {
    "fingerprint": ": the data set is another",
    "mixture": ": its rows go on by another recursion; create it with mixture='{}'",
}


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
    saved = state[prefix + EXTRA]
    version = saved["format"]
    if version != FORMAT:
        other = "a newer" if version > FORMAT else "an older"
        raise ValueError(
            f"Expected a field of format {FORMAT} but got format {version}: it was "
            f"saved by {other} version of rkdo-plugin, which can go on with it"
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


class Saved(nn.Module):
    """The part of a field that knows with which saved fields it may go on."""

    num_samples: int
    dim: int
    neighbors: int
    mixture: str
    fingerprint: str | None = None

    def get_extra_state(self) -> dict[str, Any]:
        """What a saved field must agree with when it is loaded."""
        return {
            "format": FORMAT,
            "num_samples": self.num_samples,
            "dim": self.dim,
            "neighbors": self.neighbors,
            "mixture": self.mixture,
            "fingerprint": self.fingerprint,
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over the fingerprint; `check_saved` has compared the rest."""
        self.fingerprint = self.fingerprint or state["fingerprint"]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        check_saved(state_dict, prefix, self.get_extra_state(), list(self._buffers))
        super()._load_from_state_dict(state_dict, prefix, *args)
