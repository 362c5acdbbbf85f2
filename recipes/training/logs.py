"""What a training run logs: metrics.csv and TensorBoard events, without noise."""

import csv
import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from rkdo_plugin.publish import naming, write_whole
from rkdo_plugin.recipes.evaluation.run_folder import read_lines

METRICS = "metrics.csv"


def open_loggers(folder: Path, steps_done: int) -> list[Logger]:
    """metrics.csv, continued after `steps_done` steps, and a TensorBoard log."""
    metrics = Metrics(folder / METRICS, steps_done)
    return [metrics, TensorBoardLogger(folder, name="", version="tensorboard")]


class Metrics(Logger):
    """Writes what is logged to a table of comma-separated values, line by line.

    Lightning's own logger deletes the file when it opens it, and cuts it off to add a
    column. A process that is killed then would have lost the lines of a run.

    Args:
        path: The table. Lines of steps that will be logged again are removed.
        steps_done: Number of steps that will not.
    """

    def __init__(self, path: Path, steps_done: int) -> None:
        super().__init__()
        self.path = path
        rows = [row for row in self._rows() if _step(row) < steps_done]
        rows = [row for row in rows if None not in [*row, *row.values()]]
        self._columns = list(rows[0]) if rows else []
        if path.is_file() and _table(self._columns, rows) != path.read_bytes():
            self._write(rows)

    @property
    def name(self) -> str:
        """Of the file."""
        return self.path.name

    @property
    def version(self) -> str:
        """None: the file goes on."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a line."""
        row = {**metrics, "step": step}
        if row.keys() <= {*self._columns} and self.path.is_file():
            with naming(self.path), self.path.open("ab") as file:
                file.write(_table(self._columns, [row], header=False))
            return
        self._columns = sorted({*self._columns, *row})
        self._write([*self._rows(), row])

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Leave them to the run's config.yaml."""

    def _rows(self) -> list[dict[str, Any]]:
        return list(read_lines(self.path)) if self.path.is_file() else []

    def _write(self, rows: list[dict[str, Any]]) -> None:
        write_whole(self.path, _table(self._columns, rows), overwrite=True)


def _table(
    columns: list[str], rows: list[dict[str, Any]], *, header: bool = True
) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    if header and columns:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def _step(row: dict[str, Any]) -> float:
    """The step of a row; of one that a killed process began, none that was done."""
    try:
        return int(row["step"])
    except (KeyError, TypeError, ValueError):
        return math.inf


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence advertisements, and warnings about what is done here on purpose."""
    log = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = log.level
    log.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*exists and is not empty.*")
        # Frozen features are in eval mode on purpose.
        warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")
        # Lightning's own use of a torch function that newer torch deprecates.
        warnings.filterwarnings("ignore", ".*LeafSpec.*", FutureWarning)
        try:
            yield
        finally:
            log.setLevel(level)
