"""What a training run logs: metrics.csv and TensorBoard events, without noise."""

import csv
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

from rkdo_plugin.recipes.evaluation.run_folder import read_lines

METRICS = "metrics.csv"


def open_loggers(folder: Path, steps_done: int) -> list[Logger]:
    """metrics.csv, continued after `steps_done` steps, and a TensorBoard log."""
    rows = _read_metrics(folder, steps_done)
    csv_logger = CSVLogger(folder, name="", version="")
    with quiet_lightning():
        columns = csv_logger.experiment.metrics_keys  # opening deletes the old metrics
    _keep_metrics(folder, rows)
    columns.extend(rows[0] if rows else [])
    return [csv_logger, TensorBoardLogger(folder, name="", version="tensorboard")]


def _read_metrics(folder: Path, before_step: int) -> list[dict[str, str]]:
    """Rows of metrics.csv up to a step; later ones will be logged again."""
    path = folder / METRICS
    if not path.is_file():
        return []
    rows = [row for row in read_lines(path) if _step(row) < before_step]
    return [row for row in rows if None not in [*row, *row.values()]]


def _step(row: dict[str, Any]) -> float:
    """The step of a row; of one that a killed process began, none that was done."""
    try:
        return int(row["step"])
    except (KeyError, TypeError, ValueError):
        return math.inf


def _keep_metrics(folder: Path, rows: list[dict[str, str]]) -> None:
    """Write rows back to metrics.csv, which Lightning's logger deletes on opening."""
    if rows:
        with (folder / METRICS).open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


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
