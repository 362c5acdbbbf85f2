"""What a training run logs: metrics.csv and TensorBoard events, without noise."""

import csv
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger

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
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) < before_step]


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
