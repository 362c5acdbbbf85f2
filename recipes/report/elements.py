"""The pieces of the page as HTML. What comes from files is text, never markup."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

LONG = 44  # characters, above which a cell breaks into lines


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def listed(texts: Iterable[str]) -> str:
    """An unordered list of plain texts; empty without texts."""
    items = "\n".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>\n{items}\n</ul>" if items else ""


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself where it is too wide, also by the keyboard.

    Args:
        caption: Above the table.
        heads: The columns' headings.
        rows: Cells as plain text; the first of a row is its heading.
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(map(_cell, cells))
        + "</tr>"
        for first, *cells in rows
    ]
    body = "\n".join(lines)
    name = escape(caption, quote=True)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">\n'
        f"<table>\n<caption>{escape(caption)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def grid(parts: Iterable[str]) -> str:
    """Parts side by side where there is room; empty ones are left out."""
    content = "\n".join(part for part in parts if part)
    return f'<div class="grid">\n{content}\n</div>'


def details(summary: str, *parts: str) -> str:
    """Parts that are folded until they are asked for."""
    content = "\n".join(parts)
    return f"<details>\n<summary>{escape(summary)}</summary>\n{content}\n</details>"


def preformatted(text: str) -> str:
    """Lines as they are."""
    name = 'role="region" aria-label="text" tabindex="0"'
    return f'<pre class="scroll" {name}>{escape(text)}</pre>'


def section(identifier: str, heading: str, *parts: str) -> str:
    """A part of the page with its heading."""
    content = "\n".join(part for part in parts if part)
    return (
        f'<section id="{identifier}" aria-labelledby="{identifier}-heading">\n'
        f'<h2 id="{identifier}-heading">{escape(heading)}</h2>\n{content}\n</section>'
    )


def picture(source: str, alt: str, caption: str) -> str:
    """A picture that scrolls by itself where it is too wide to be read."""
    name = escape(caption, quote=True)
    return (
        f"<figure>\n<figcaption>{escape(caption)}</figcaption>\n"
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">'
        f'<img src="{source}" alt="{escape(alt, quote=True)}"></div>\n</figure>'
    )


def chart(caption: str, spec: dict[str, Any], *fallback: str) -> str:
    """A plot, and below it the same for those who do not see it.

    Args:
        caption: What it shows.
        spec: A specification of Vega-Lite, which the page's script draws.
        fallback: The same as HTML.
    """
    return (
        f"<figure>\n<figcaption>{escape(caption)}</figcaption>\n"
        f'<div class="chart"><script type="application/json">{as_json(spec)}</script>'
        '<div class="plot"></div><output></output></div>\n'
        + "\n".join(fallback)
        + "\n</figure>"
    )


def as_json(value: Any) -> str:
    """JSON that ends no script element early."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _cell(text: str) -> str:
    long = _class("long" if len(text) > LONG else "")
    return f"<td{long}>{escape(text)}</td>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
