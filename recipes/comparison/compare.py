"""Compare losses on the same images: tune, train, and keep every finished run."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from rkdo_plugin.export.encoder.image_size import optional_image_size
from rkdo_plugin.options import check_count
from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.comparison.contenders import Contender, contenders_of
from rkdo_plugin.recipes.comparison.grid import (
    Point,
    best_of,
    grid_of,
    run_settings,
    tuning_runs,
)
from rkdo_plugin.recipes.comparison.images import (
    comparison_images,
    fingerprint,
    kept_back,
)
from rkdo_plugin.recipes.comparison.parallel import Runner
from rkdo_plugin.recipes.comparison.results import (
    RESULT,
    RUN_KEY,
    Planned,
    Results,
    Row,
    code_version,
)
from rkdo_plugin.recipes.comparison.runs import attempt
from rkdo_plugin.recipes.comparison.settings import ComparisonSettings, closest
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.images import ImageData


@dataclass(frozen=True)
class Entry:
    """A contender and what became of it.

    Attributes:
        contender: The contender.
        points: Number of points of its grid.
        point: The best of them; None where runs of each failed.
        rows: The rows of its runs for the result, by (epochs, seed).
        tuning: The rows of its tuning.
    """

    contender: Contender
    points: int
    point: Point | None
    rows: dict[tuple[int, int], Row]
    tuning: list[Row]

    def scores(self, epochs: int) -> dict[int, float]:
        """The scores of the runs of a length that are finished, by seed."""
        return {
            seed: row["score"]
            for (length, seed), row in sorted(self.rows.items())
            if length == epochs and "score" in row
        }

    def curves(self, lengths: Sequence[int]) -> dict[int, list[float]]:
        """The scores at each length, by seed, of the seeds that have all of them."""
        scores = [self.scores(epochs) for epochs in lengths]
        seeds = set.intersection(*(set(each) for each in scores))
        return {seed: [each[seed] for each in scores] for seed in sorted(seeds)}

    def seconds(self) -> float | None:
        """The median over its runs of their seconds a step; None without a run."""
        runs = [row["seconds"] for row in self.rows.values() if row.get("seconds")]
        return median(runs) if runs else None


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        settings: What all contenders share.
        images: The images.
        epochs: The lengths of the runs, from short to long.
        steps_an_epoch: Optimizer steps of an epoch.
        tuning_steps: Optimizer steps of a run of the tuning.
        entries: The contenders; the first is the baseline.
        shared: The version of the "code" and the fingerprint of the "data".
    """

    settings: ComparisonSettings
    images: ImageData
    epochs: list[int]
    steps_an_epoch: int
    tuning_steps: int
    entries: list[Entry]
    shared: dict[str, str]

    @property
    def steps(self) -> list[int]:
        """Optimizer steps of the lengths."""
        return [epochs * self.steps_an_epoch for epochs in self.epochs]


def compare_losses(
    settings: ComparisonSettings,
    losses: Sequence[str],
    out: str | Path,
    *,
    root: str | None = None,
    jobs: int = 1,
    restart: bool = False,
) -> Comparison:
    """Tune each contender on the same grid, then train it at each length and seed.

    Args:
        settings: What all contenders share.
        losses: The contenders, as `contenders_of` reads them.
        out: Folder for runs.jsonl. Runs that are finished there are not repeated; those
            that failed are.
        root: Folder that holds the data sets.
        jobs: Number of runs at once.
        restart: Remove the runs of an older comparison.

    Raises:
        FileNotFoundError: The data is not there.
        KeyboardInterrupt: Ctrl-C; the finished runs are kept.
        ValueError: A contender or a setting is not understood, there are too few images
            or too few steps, or the folder holds runs of another version of the code or
            of other images.
    """
    check_count("jobs", jobs)
    contenders = contenders_of(losses, settings.recipe)
    _require_features(settings.recipe)
    images = comparison_images(
        load_data(
            settings.data,
            root=root,
            limit=settings.limit,
            image_size=optional_image_size(settings.image_size),
        )
    )
    # The tuning trains on fewer images, so that its epochs have fewer steps.
    tuning_epoch = _steps(kept_back(images), settings.batch_size)
    tuning_epochs = closest(settings.budget * min(settings.lengths), tuning_epoch)
    steps = _steps(images, settings.batch_size)
    epochs = settings.epochs(steps)
    shared = {"code": code_version(), "data": fingerprint(images)}
    results = Results(Path(out), shared, RUN_KEY, restart=restart)

    grids = [
        {
            point: tuning_runs(settings, contender, point, tuning_epochs)
            for point in grid_of(contender, settings)
        }
        for contender in contenders
    ]
    tried = [
        [run for runs in grid.values() for run in runs] if len(grid) > 1 else []
        for grid in grids
    ]
    with Runner(attempt, images, jobs) as runner:
        _finish([run for runs in tried for run in runs], runner, results)
        points = [_best(grid, results) for grid in grids]
        runs = {
            (number, length, seed): Planned(
                RESULT, run_settings(settings, contenders[number], point, length, seed)
            )
            for seed in range(settings.seeds)
            for length in epochs
            for number, point in enumerate(points)
            if point is not None
        }
        _finish([*runs.values()], runner, results)
    entries = []
    for number, contender in enumerate(contenders):
        own = {
            key[1:]: results[run.row] for key, run in runs.items() if key[0] == number
        }
        tuning = [results[run.row] for run in tried[number]]
        entries.append(
            Entry(contender, len(grids[number]), points[number], own, tuning)
        )
    return Comparison(
        settings, images, epochs, steps, tuning_epoch * tuning_epochs, entries, shared
    )


def _require_features(recipe: str) -> None:
    factory: Any = host().factory("recipe", recipe)
    if factory.reports:
        raise ValueError(
            "Expected a `recipe` whose features are scored, such as simclr, but got "
            f"{recipe}, which reports on itself"
        )


def _steps(images: ImageData, batch_size: int) -> int:
    """Optimizer steps of an epoch."""
    steps = len(images.train) // batch_size
    if steps == 0:
        raise ValueError(
            f"Expected `batch_size` to be at most {len(images.train)}, the number of "
            "images that the tuning trains on when a fifth is kept back to score by, "
            f"but got {batch_size}; 32 is a good one for few images"
        )
    return steps


def _best(grid: dict[Point, list[Planned]], results: Results) -> Point | None:
    """The best point of a grid; where there is one alone, it has not been run."""
    if len(grid) == 1:
        return next(iter(grid))
    return best_of({p: [results[run.row] for run in runs] for p, runs in grid.items()})


def _finish(
    planned: Sequence[Planned], runner: Runner[Planned, ImageData], results: Results
) -> None:
    """Run what is not finished yet, and say on stderr how far it is."""
    once = {
        results.name(run.row): run for run in planned if not results.finished(run.row)
    }
    left, started, count = len(once), time.perf_counter(), 0
    try:
        for run, outcome in runner.run([*once.values()]):
            results.add(run.row, outcome)
            count += 1
            seconds = (time.perf_counter() - started) / count * (left - count)
            print(
                f"{run.purpose} {count}/{left}: {_said(run, outcome)}; "
                f"{tqdm.format_interval(seconds)} left",
                file=sys.stderr,
                flush=True,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"after {count} of {left} runs; the same command goes on"
        ) from None


def _said(run: Planned, outcome: Row) -> str:
    """A run and what came of it: "icon, field hog, 5 epochs, seed 0: 0.9312"."""
    settings = run.settings
    words = [str(settings.loss)]
    if settings.field is not None:
        words.append(f"field {settings.field}")
    words += [f"{settings.epochs} epochs", f"seed {settings.seed}"]
    score = outcome.get("score")
    ended = f"failed, {outcome['error']}" if score is None else f"{score:.4f}"
    return f"{', '.join(words)}: {ended}"
