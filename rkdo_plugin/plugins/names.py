"""Names that are like a mistyped one."""

import difflib
from collections.abc import Collection


def did_you_mean(name: str, known: Collection[str], prefix: str = "") -> str:
    """Name the known name that is like another one, after a prefix; or say nothing.

    Example:
        >>> did_you_mean("rkdoo", ["icon", "rkdo"])
        ' (did you mean rkdo?)'
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""
