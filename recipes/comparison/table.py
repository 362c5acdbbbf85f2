"""A comparison as Markdown, and its learning curves as a table of numbers."""

import csv
from collections.abc import Callable, Iterable, Sequence
from io import StringIO

import numpy as np

from rkdo_plugin.recipes.comparison.compare import Comparison, Entry
from rkdo_plugin.recipes.comparison.scoring import KNN, measure_of
from rkdo_plugin.recipes.comparison.settings import FIRST_TUNING_SEED
from rkdo_plugin.recipes.comparison.statistics import (
    Estimate,
    mean,
    performance_profile,
    probability_of_improvement,
    steps_ratio,
)
from rkdo_plugin.recipes.comparison.words import markdown_table

THRESHOLDS = 5
FEW = 10  # seeds, below which a bootstrap interval is too narrow
NOTHING = "-"


def markdown(comparison: Comparison) -> str:
    """All tables, with what the figures are and what they rest on."""
    parts = [_title(comparison), _main(comparison), _curves(comparison)]
    parts += [_profile(comparison), _failures(comparison), _notes(comparison)]
    return "\n\n".join(part for part in parts if part) + "\n"


def curves_csv(comparison: Comparison) -> str:
    """Every run of the result in a line."""
    text = StringIO()
    names = ("score", "seconds", "error")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["contender", "epochs", "steps", "seed", *names])
    for entry in comparison.entries:
        for (epochs, seed), row in sorted(entry.rows.items()):
            steps = epochs * comparison.steps_an_epoch
            values = [row.get(name, "") for name in names]
            writer.writerow([entry.contender.name, epochs, steps, seed, *values])
    return text.getvalue()


def _title(comparison: Comparison) -> str:
    images, settings = comparison.images, comparison.settings
    return (
        f"{images.name}, {settings.recipe}: {len(images.train):,} training images, "
        f"{len(images.test):,} images to score by; {comparison.steps[-1]:,} steps "
        f"({comparison.epochs[-1]} epochs); {_seeds(settings.seeds)}"
    )


def _main(comparison: Comparison) -> str:
    baseline = comparison.entries[0]
    final, steps = comparison.epochs[-1], comparison.steps
    target = [*baseline.scores(final).values()]
    goal = "steps to the first one's score"
    base_seconds = baseline.seconds()
    rows = []
    for entry in comparison.entries:
        scores = entry.scores(final)
        chance = ratio = NOTHING
        if min(len(scores), len(target)) > 1 and entry is not baseline:
            found = probability_of_improvement([*scores.values()], target)
            chance = _interval(found, "{:.2f}".format)
        own, other = (each.curves(comparison.epochs) for each in (entry, baseline))
        common = sorted(own.keys() & other.keys())
        if common and len(steps) > 1:
            curves = [[each[seed] for seed in common] for each in (own, other)]
            found = steps_ratio(steps, *curves)
            ratio = _interval(found, lambda value: _share(value, steps))
        rows.append(
            [
                entry.contender.name,
                _tuned(entry),
                f"{len(scores)} of {comparison.settings.seeds}",
                _score(comparison, scores.values()),
                ratio,
                chance,
                _cost(entry.seconds(), base_seconds),
            ]
        )
    heads = ["contender", "settings", "runs", _heading(comparison), goal]
    heads += [f"P(better than {baseline.contender.name})", "ms a step"]
    return markdown_table(heads, rows)


def _curves(comparison: Comparison) -> str:
    if len(comparison.epochs) == 1:
        return ""
    heads = [_heading(comparison), *(f"{n:,} steps" for n in comparison.steps)]
    rows = [
        [
            entry.contender.name,
            *(
                _score(comparison, entry.scores(epochs).values())
                for epochs in comparison.epochs
            ),
        ]
        for entry in comparison.entries
    ]
    return "Learning curves, each point of complete runs:\n\n" + markdown_table(
        heads, rows
    )


def _profile(comparison: Comparison) -> str:
    final = comparison.epochs[-1]
    scores = [[*entry.scores(final).values()] for entry in comparison.entries]
    pooled = [score for own in scores for score in own]
    if not pooled or min(pooled) == max(pooled) or comparison.settings.seeds == 1:
        return ""
    inner = np.linspace(min(pooled), max(pooled), THRESHOLDS + 2)[1:-1]
    heads = [f"above {_plain(comparison, threshold)}" for threshold in inner]
    rows = [
        [
            entry.contender.name,
            *(f"{share:.2f}" for share in performance_profile(own, inner)),
        ]
        for entry, own in zip(comparison.entries, scores, strict=True)
        if own
    ]
    words = "Performance profile, the share of the longest runs that score"
    return f"{words}:\n\n" + markdown_table(["contender", *heads], rows)


def _failures(comparison: Comparison) -> str:
    lines = []
    for entry in comparison.entries:
        runs = [(f"seed {s}, {e} epochs", row) for (e, s), row in entry.rows.items()]
        for what, row in [*(("tuning", row) for row in entry.tuning), *runs]:
            if "error" in row:
                reason = " ".join(row["error"].split())
                lines.append(f"* {entry.contender.name}, {what}: {reason}")
    if not lines:
        return ""
    lines = [*dict.fromkeys(lines)]
    return "Runs that failed, of which no figure knows:\n\n" + "\n".join(lines)


def _notes(comparison: Comparison) -> str:
    settings = comparison.settings
    notes = []
    if settings.seeds == 1:
        notes.append(
            "One seed: there is no interval, and any difference may be chance."
        )
    else:
        few = " With so few seeds they are too narrow." if settings.seeds < FEW else ""
        notes.append(f"Intervals: 95 %, percentile bootstrap over the seeds.{few}")
    points, by = {e.points for e in comparison.entries}, measure_of(comparison.images)
    if max(points) > 1:
        notes.append(
            f"Tuning: {comparison.tuning_steps:,} steps, "
            f"{_seeds(settings.tuning_seeds)} from {FIRST_TUNING_SEED}, by the {by} of "
            "training images that were kept back."
        )
    if len(points) > 1:
        notes.append(
            "The contenders were not tuned alike: some have no temperature, or set it."
        )
    if by != KNN:
        notes.append(
            "The images have no labels. RankMe counts the directions that the features "
            "use. It does not say what they are good for."
        )
    return "\n".join(f"* {note}" for note in notes)


def _seeds(count: int) -> str:
    return f"{count} seed" if count == 1 else f"{count} seeds"


def _heading(comparison: Comparison) -> str:
    measure = measure_of(comparison.images)
    return f"{measure}, %" if measure == KNN else measure


def _plain(comparison: Comparison, score: float) -> str:
    return f"{score * (100 if measure_of(comparison.images) == KNN else 1):.2f}"


def _score(comparison: Comparison, scores: Iterable[float]) -> str:
    values = [*scores]
    if not values:
        return NOTHING
    return _interval(mean(values), lambda value: _plain(comparison, value))


def _interval(estimate: Estimate, say: Callable[[float], str]) -> str:
    if estimate.low is None or estimate.high is None:
        return say(estimate.value)
    return f"{say(estimate.value)} [{say(estimate.low)}, {say(estimate.high)}]"


def _share(ratio: float, steps: Sequence[int]) -> str:
    if ratio > 1:
        return "> 1"
    shortest = steps[0] / steps[-1]
    return f"≤ {shortest:.2f}" if ratio <= shortest else f"{ratio:.2f}"


def _tuned(entry: Entry) -> str:
    point = entry.point
    if point is None:
        return "every point failed"
    named = {"temperature": point.temperature, "learning rate": point.learning_rate}
    words = [f"{name} {value:g}" for name, value in named.items() if value is not None]
    if not words:
        return NOTHING
    return ", ".join(words) + (f" (best of {entry.points})" if entry.points > 1 else "")


def _cost(seconds: float | None, baseline: float | None) -> str:
    if seconds is None:
        return NOTHING
    times = "" if baseline is None else f" (x {seconds / baseline:.2f})"
    return f"{1000 * seconds:.1f}{times}"
