"""The tuning: the same small grid for every contender, on seeds of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import Any

from rkdo_plugin.plugins.host import host
from rkdo_plugin.recipes.comparison.contenders import Contender, parameter_of
from rkdo_plugin.recipes.comparison.results import TUNING, Planned, Row
from rkdo_plugin.recipes.comparison.settings import (
    FIRST_TUNING_SEED,
    ComparisonSettings,
)
from rkdo_plugin.recipes.training.settings import RunSettings


@dataclass(frozen=True)
class Point:
    """A point of the grid.

    Attributes:
        temperature: Of the loss; None where the loss has none, or the contender sets
            it.
        learning_rate: Of the recipe; None where the contender sets it.
    """

    temperature: float | None
    learning_rate: float | None


def grid_of(contender: Contender, settings: ComparisonSettings) -> list[Point]:
    """The points of a contender's grid: multiples of what it has by default."""
    recipe: Any = host().factory("recipe", settings.recipe)
    temperature = parameter_of(host().factory("loss", contender.loss), "temperature")
    rate = parameter_of(recipe.Settings, "learning_rate")
    temperatures: list[float | None] = [None]
    if isinstance(temperature, float) and "temperature" not in contender.loss_options:
        temperatures = [factor * temperature for factor in settings.temperatures]
    rates: list[float | None] = [None]
    if "learning_rate" not in contender.recipe_options:
        rates = [factor * rate for factor in settings.learning_rates]
    return [Point(*values) for values in product(temperatures, rates)]


def run_settings(
    settings: ComparisonSettings,
    contender: Contender,
    point: Point,
    epochs: int,
    seed: int,
) -> RunSettings:
    """The settings of one run of a contender."""
    loss, recipe = dict(contender.loss_options), dict(contender.recipe_options)
    if point.temperature is not None:
        loss["temperature"] = point.temperature
    if point.learning_rate is not None:
        recipe["learning_rate"] = point.learning_rate
    return RunSettings(
        recipe=settings.recipe,
        recipe_options=recipe or None,
        loss=contender.loss,
        loss_options=loss or None,
        data=settings.data,
        encoder=settings.encoder,
        field=contender.field,
        field_options=contender.field_options or None,
        epochs=epochs,
        batch_size=settings.batch_size,
        limit=settings.limit,
        image_size=settings.image_size,
        augment="batches",
        precision=settings.precision,
        seed=seed,
    )


def tuning_runs(
    settings: ComparisonSettings, contender: Contender, point: Point, epochs: int
) -> list[Planned]:
    """The runs of a point of the grid, on seeds that the result does not use."""
    seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + settings.tuning_seeds)
    return [
        Planned(TUNING, run_settings(settings, contender, point, epochs, seed))
        for seed in seeds
    ]


def best_of(rows: Mapping[Point, Sequence[Row]]) -> Point | None:
    """The point with the highest mean score; the first of several.

    Args:
        rows: The rows of each point's runs. A point of which a run failed is out.

    Returns:
        The point; None where all are out.
    """
    means = {
        point: fmean(row["score"] for row in runs)
        for point, runs in rows.items()
        if all("score" in row for row in runs)
    }
    return max(means, key=means.__getitem__) if means else None
