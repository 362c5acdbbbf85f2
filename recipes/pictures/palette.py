"""The colours of all pictures, and how a picture is made and saved."""

from pathlib import Path
from typing import IO, cast

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rkdo_plugin.publish import growing

# Ten classes that stay apart in print and for most kinds of colour blindness.
CLASSES = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#b8a038",
    "#2a9fbf",
    "#aa3377",
    "#777777",
    "#994f00",
    "#5d3a9b",
    "#e66100",
)
NO_CLASS = "#4477aa"
INK = "#222222"


def class_color(label: int) -> str:
    """The colour of a class; -1 stands for no class."""
    return NO_CLASS if label < 0 else CLASSES[label % len(CLASSES)]


def new_figure(width: float, height: float, layout: str | None = None) -> Figure:
    """An empty figure, in inches, that needs no display."""
    figure = Figure(figsize=(width, height), layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure as a PNG; an older file is replaced whole."""
    with growing(path, overwrite=True) as file:
        figure.savefig(cast(IO[bytes], file), dpi=dpi, format="png")
