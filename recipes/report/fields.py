"""The contact sheet of a run's response field, as the page holds it."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from rkdo_plugin.recipes.field.inspect import inspect_field, load_run_field
from rkdo_plugin.recipes.pictures.field import draw_field
from rkdo_plugin.recipes.report.maps import data_url

SAMPLES = 12  # rows of the sheet
COLORS = 256  # the sheet is line art around small images


@dataclass(frozen=True)
class FieldSheet:
    """A run's field, as a picture and in figures.

    Attributes:
        source: The picture as a data URL.
        title: What it shows, in one line.
        figures: All figures, as `rkdo inspect-field` prints them.
    """

    source: str
    title: str
    figures: str


def field_sheet(run: Path, root: str | None) -> FieldSheet:
    """Draw a run's field.

    Args:
        run: A run folder, trained with a field.
        root: Folder that holds the data sets.

    Raises:
        FileNotFoundError: The data is not there.
        ValueError: The run has no field, or the images are not those of the run.
    """
    loaded = load_run_field(run, root)
    report = inspect_field(loaded, start=False)
    with TemporaryDirectory() as folder:
        path = Path(folder, "field.png")
        draw_field(
            path,
            loaded.field,
            loaded.data.train,
            loaded.data.image_size,
            loaded.labels,
            report.title,
            min(SAMPLES, loaded.field.num_samples),
        )
        with Image.open(path) as drawn:
            source = data_url(drawn.convert("RGB").quantize(COLORS))
    headline, figures, _ = report.title.splitlines()
    return FieldSheet(source, f"{headline}; {figures}", str(report))
