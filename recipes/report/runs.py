"""Read what a training run left, finished or not."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rkdo_plugin.recipes.evaluation.run_folder import (
    CHECKPOINT,
    CONFIG,
    read_config,
    read_lines,
    read_run,
)
from rkdo_plugin.recipes.training.logs import METRICS

MOST_STEPS = 2**53  # a chart has them as floats

Points = tuple[tuple[int, float], ...]
"""Steps and values, in the order of the steps."""


@dataclass(frozen=True)
class FoundRun:
    """A run, as far as its folder tells of it.

    Attributes:
        folder: The run folder.
        config: Its settings.
        curves: What it logged, by name; finite values alone.
        epochs_done: Epochs up to its checkpoint; 0 without one.
        num_samples: Number of its training images; None without a checkpoint.
        num_classes: Number of their classes; None without a checkpoint.
        lightning: The version of Lightning that wrote the checkpoint; None without one.
        remarks: What is missing or odd, in words.
    """

    folder: Path
    config: dict[str, Any]
    curves: dict[str, Points]
    epochs_done: int
    num_samples: int | None
    num_classes: int | None
    lightning: str | None
    remarks: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether all its epochs are done."""
        return self.epochs_done >= int(self.config["epochs"])

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.config["seed"])

    @property
    def state(self) -> str:
        """How far it came, in words."""
        epochs = self.config["epochs"]
        if self.finished:
            return f"finished, {epochs} epochs"
        return f"not finished: {self.epochs_done} of {epochs} epochs"


def read_found_run(folder: Path) -> FoundRun:
    """Read a run folder. A checkpoint or metrics may be missing, the settings may not.

    Args:
        folder: What `rkdo train` left.

    Raises:
        FileNotFoundError: There is no config.yaml.
        ValueError: The settings are not those of a run, or a file is damaged.
    """
    config = read_config(folder / CONFIG)
    kinds: dict[str, type] = {"data": str, "epochs": int, "seed": int}
    missing = [name for name in kinds if name not in config]
    if missing:
        raise ValueError(
            f"Expected {folder / CONFIG} to hold a run's settings but it lacks "
            + ", ".join(missing)
        )
    for name, kind in kinds.items():
        if not isinstance(config[name], kind):
            raise ValueError(
                f"Expected `{name}` in {folder / CONFIG} to be {kind.__name__} but got "
                f"{config[name]!r:.50}"
            )
    remarks = []
    curves: dict[str, Points] = {}
    if (folder / METRICS).is_file():
        curves, not_finite = _read_metrics(folder / METRICS)
        remarks += [f"{name} was not finite at step {s}" for name, s in not_finite]
        if not curves:
            remarks.append(f"{METRICS} holds no values")
    else:
        remarks.append(f"no {METRICS}: it logged nothing")
    if not (folder / CHECKPOINT).is_file():
        remarks.append(f"no {CHECKPOINT}: no epoch was finished")
        return FoundRun(folder, config, curves, 0, None, None, None, tuple(remarks))
    checkpoint = read_run(folder / CHECKPOINT)
    settings = checkpoint.get("rkdo", {}).get("settings", {})
    return FoundRun(
        folder,
        config,
        curves,
        _epochs_done(folder / CHECKPOINT, checkpoint),
        settings.get("num_samples"),
        settings.get("num_classes"),
        checkpoint.get("pytorch-lightning_version"),
        tuple(remarks),
    )


def _epochs_done(path: Path, checkpoint: dict[str, Any]) -> int:
    try:
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
        done = progress["current"]["processed"]
        if isinstance(done, int):
            return done
    except (KeyError, TypeError, IndexError):
        pass
    raise ValueError(
        f"Expected {path} to say how many epochs are done but it does not; is it a "
        "Lightning checkpoint?"
    )


def _read_metrics(path: Path) -> tuple[dict[str, Points], list[tuple[str, int]]]:
    """The finite values of each column, and where a column first is not finite."""
    found: dict[str, list[tuple[int, float]]] = {}
    not_finite: dict[str, int] = {}
    for row in read_lines(path):
        if "step" not in row:
            raise ValueError(f"Expected {path} to have a column 'step' but it has none")
        try:
            step = int(row.pop("step")) + 1  # Lightning counts from 0
            row.pop("epoch", None)
            values = {name: float(text) for name, text in row.items() if text}
        except (TypeError, ValueError):  # a line that a killed process began
            continue
        if not 0 < step < MOST_STEPS:
            continue
        for name, value in values.items():
            if math.isfinite(value):
                found.setdefault(name, []).append((step, value))
            else:
                not_finite.setdefault(name, step)
    curves = {name: tuple(sorted(points)) for name, points in found.items()}
    return curves, list(not_finite.items())
