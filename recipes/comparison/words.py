"""Tables and p-values as text."""

import math
from collections.abc import Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    Example:
        >>> print(markdown_table(["loss", "kNN"], [["icon", "0.97"]]))
        | loss | kNN |
        |---|---|
        | icon | 0.97 |
    """
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def p_value(p: float, nothing: str = "") -> str:
    """A p-value; `nothing` where there is none, which is NaN.

    Example:
        >>> p_value(0.0123), p_value(1e-5)
        ('0.012', '< 0.001')
    """
    if math.isnan(p):
        return nothing
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
