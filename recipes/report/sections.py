"""The sections of the page, each from what was collected for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rkdo_plugin.recipes.comparison.words import p_value
from rkdo_plugin.recipes.report import elements as html
from rkdo_plugin.recipes.report.arms import Arm, differing
from rkdo_plugin.recipes.report.charts import curves_chart, map_chart
from rkdo_plugin.recipes.report.collect import Collected
from rkdo_plugin.recipes.report.comparisons import FoundComparison
from rkdo_plugin.recipes.report.conclusions import Conclusions
from rkdo_plugin.recipes.report.exports import FoundExport
from rkdo_plugin.recipes.report.fields import FieldSheet
from rkdo_plugin.recipes.report.maps import Map, MapImages
from rkdo_plugin.recipes.report.results import KNN, Result
from rkdo_plugin.recipes.report.words import (
    NOTHING,
    counted,
    difference,
    percent,
    score,
    value,
)

LOSS = "train_loss"
METRICS = {  # in this order, before all others, which are folded
    KNN: ("kNN accuracy on the test images, while training", "kNN accuracy"),
    LOSS: ("Training loss", "loss"),
    "embedding_std": ("Spread of embeddings: 1 is even, 0 is collapsed", "spread"),
}
STEPS = 200  # of a curve that are drawn; longer ones are thinned evenly
ROWS = 25  # of the table below a plot


def results_section(found: Collected, results: Sequence[Result]) -> str:
    """What each arm came to, and how each run ended."""
    names = [r.arm.name for r in results if r.score is not None]
    rows = []
    for result in results:
        rows.append(
            [
                result.arm.name,
                ", ".join(str(run.seed) for run in result.arm.runs),
                score(result.score),
                NOTHING if result.score is None else f"{result.score.step:,}",
            ]
        )
        if len(names) > 1:
            rows[-1] += [difference(result.against), p_value(result.p, NOTHING)]
    heads = ["arm", "seeds", "last kNN accuracy", "at step"]
    if len(names) > 1:
        heads += [f"against {names[0]}", "p, by Holm"]
    parts = []
    if rows:
        caption = "Means over seeds, with 95 % intervals by Student's t"
        parts.append(html.table(caption, heads, rows))
    runs = [
        [
            str(run.folder),
            arm.name,
            str(run.seed),
            run.state,
            "; ".join(run.remarks) or NOTHING,
        ]
        for arm in found.arms
        for run in arm.runs
    ]
    if runs:
        heads = ["run", "arm", "seed", "state", "remarks"]
        listed = html.table("How each run ended", heads, runs)
        odd = any(not run.finished or run.remarks for run in found.runs)
        summary = "How each run ended" + (": some not well" if odd else "")
        fold = html.details(summary, listed)
        parts.append(fold.replace("<details>", "<details open>", 1) if odd else fold)
    return html.section("results", "Results", *parts) if parts else ""


def conclusions_section(conclusions: Conclusions) -> str:
    """What may and may not be concluded."""
    may, may_not = map(html.listed, (conclusions.may, conclusions.may_not))
    return html.section(
        "conclusions",
        "What may and may not be concluded",
        '<div class="sides">',
        f'<div class="may"><h3>You may conclude</h3>{may}</div>',
        f'<div class="may-not"><h3>You may not conclude</h3>{may_not}</div>',
        "</div>",
    )


def curves_section(arms: Sequence[Arm]) -> str:
    """A plot for each quantity that was logged; one for each objective's loss."""
    logged = {name: None for arm in arms for run in arm.runs for name in run.curves}
    if not logged:
        return ""
    objectives: dict[str, list[Arm]] = {}
    for arm in arms:
        objectives.setdefault(arm.objective, []).append(arm)
    names = [arm.name for arm in arms]
    plots = []
    for metric in (name for name in METRICS if name in logged):
        groups = objectives.values() if metric == LOSS else [arms]
        plots += [_curves(group, names, metric) for group in groups]
    others = sorted(logged.keys() - METRICS.keys())
    folded = [_curves(arms, names, metric) for metric in others]
    note = (
        "Lines are means over seeds; bands are 95 % intervals of the mean by Student's "
        "t. A line without a band has fewer than three seeds, or equal values."
    )
    more = f"{counted(len(others), 'plot')} more: {', '.join(others)}"
    return html.section(
        "curves",
        "Curves",
        html.paragraph(note),
        html.grid(plots),
        html.details(more, html.grid(folded)) if folded else "",
    )


def _curves(arms: Sequence[Arm], names: Sequence[str], metric: str) -> str:
    """The plot of a quantity, with its numbers as a table; empty without any."""
    curves = {arm.name: arm.curve(metric) for arm in arms}
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return ""
    title, what = METRICS.get(metric, (metric, metric))
    if len(curves) < len(names):
        title = f"{title}: {'; '.join(curves)}"
    say = score if metric == KNN else value
    drawn = {name: _thinned(points, STEPS) for name, points in curves.items()}
    steps = sorted({point.step for points in drawn.values() for point in points})
    listed = _thinned(steps, ROWS)
    by_step = {n: {p.step: p for p in points} for n, points in drawn.items()}
    rows = [
        [f"{step:,}", *(say(own.get(step)) for own in by_step.values())]
        for step in listed
    ]
    some = f", {len(listed)} of {len(steps)} steps" if len(listed) < len(steps) else ""
    table = html.table(f"{title}{some}", ["step", *curves], rows)
    spec = curves_chart(drawn, names, what, share=metric == KNN)
    return html.chart(title, spec, html.details(f"As a table: {title}", table))


def _thinned(values: Sequence[Any], count: int) -> list[Any]:
    """At most `count` values, evenly, the first and the last among them."""
    if len(values) <= count:
        return [*values]
    last = len(values) - 1
    return [values[round(place * last / (count - 1))] for place in range(count)]


def comparison_section(found: FoundComparison, number: int) -> str:
    """The learning curves of a comparison, and its own tables."""
    names = [*found.scores]
    curves = {name: found.curve(name) for name in names}
    steps = sorted({point.step for points in curves.values() for point in points})
    by_step = {n: {p.step: p for p in points} for n, points in curves.items()}
    share = found.measure == "kNN accuracy"
    say = score if share else value
    rows = [[name, *(say(own.get(s)) for s in steps)] for name, own in by_step.items()]
    title = f"{found.measure} of complete runs of each length"
    caption = f"{title}: means over seeds, with 95 % intervals by Student's t"
    heads = ["contender", *(f"{step:,} steps" for step in steps)]
    drawn = {name: points for name, points in curves.items() if points}
    plot = curves_chart(drawn, names, found.measure, share=share) if drawn else None
    failed = [f"Failed: {each}" for each in found.failed]
    return html.section(
        f"comparison-{number}",
        f"Comparison of losses in {found.folder}",
        html.table(caption, heads, rows),
        html.chart(title, plot) if plot else "",
        html.listed(failed),
        html.details(
            "What rkdo compare-losses printed, with bootstrap intervals",
            html.preformatted(found.table),
        ),
    )


def maps_section(
    maps: Mapping[str, Map], images: MapImages | None, missing: Sequence[str]
) -> str:
    """A map for each finished arm, and why some are missing."""
    why = [html.paragraph(text) for text in missing]
    if images is None or not maps:
        return html.section("maps", "Maps", *why) if why else ""
    kind = "test" if images.held_out else "training"
    plots = []
    for name, found in maps.items():
        places = [(float(x), float(y)) for x, y in found.places]
        spec = map_chart(places, images.labels.tolist(), images.labelled)
        title = f"{name}: {len(places):,} {kind} images, {found.method}"
        fallback = []
        if found.accuracy is not None:
            rows = [
                [str(label), f"{count:,}", percent(share)]
                for label, (count, share) in found.alike.items()
            ]
            heads = ["class", "images", "of their 10 nearest, in the same class"]
            fallback = [
                html.paragraph(
                    "The ten nearest places name the class of "
                    f"{percent(found.accuracy)} of the images."
                ),
                html.details(
                    f"As a table: {name}",
                    html.table("Neighbours on the map", heads, rows),
                ),
            ]
        plots.append(html.chart(title, spec, *fallback))
    note = (
        "Point at an image to see it, or move the slider, also by the arrow keys. It "
        "shows the same image on all maps. Axes have no meaning; near means alike."
    )
    return html.section("maps", "Maps", html.paragraph(note), html.grid(plots), *why)


def fields_section(sheets: Mapping[str, FieldSheet], missing: Sequence[str]) -> str:
    """The contact sheet of each arm's field, and why some are missing."""
    parts = []
    for name, sheet in sheets.items():
        alt = (
            f"Contact sheet of the response field of {name}: rows of training images, "
            "each beside its heaviest neighbours, from the surest rows to the least "
            f"sure. The figures are below. {sheet.title}"
        )
        parts.append(html.picture(sheet.source, alt, f"{name}: who is whose neighbour"))
        parts.append(html.details("All figures", html.preformatted(sheet.figures)))
    parts += [html.paragraph(text) for text in missing]
    return html.section("fields", "Response fields", *parts) if parts else ""


def exports_section(exports: Sequence[FoundExport]) -> str:
    """The gates of each exported file, and what it says about itself."""
    parts = []
    for each in exports:
        parts.append(html.heading(each.path.name))
        report = each.report
        if report is None:
            parts.append(html.paragraph(f"No figures: {each.remark}."))
        else:
            verdict = "passed" if report.passed else "FAILED"
            text = (
                f"Verification {verdict}: {each.precision} on {report.provider}, "
                f"against {report.compared_with}, {report.images:,} images."
            )
            parts.append(html.paragraph(text, "passed" if report.passed else "failed"))
            parts.append(html.listed(report.failures))
            rows = [
                [f.name, f.value, f.bound or NOTHING, "yes" if f.held else "NO"]
                for f in report.figures
            ]
            rows.append(["size", f"{report.file_bytes:,} bytes", NOTHING, NOTHING])
            rows.append(["speed", report.pace, NOTHING, NOTHING])
            heads = ["gate", "measured", "bound", "held"]
            parts.append(html.table(f"Gates of {each.path.name}", heads, rows))
        about = sorted(each.metadata.items())
        table = html.table(f"Metadata of {each.path.name}", ["key", "value"], about)
        parts.append(html.details("What the file says about itself", table))
    return html.section("exports", "Exported files", *parts) if parts else ""


def settings_section(found: Collected, versions: Mapping[str, str]) -> str:
    """What differs between the arms first, then all settings and versions."""
    parts = []
    arms = found.arms
    settings = [arm.settings for arm in arms]
    if arms:
        keys = differing(settings)
        rows = [[key, *(_cell(each, key) for each in settings)] for key in keys]
        names = [arm.name for arm in arms]
        if rows:
            parts.append(html.table("What differs", ["setting", *names], rows))
        elif len(arms) == 1:
            alone = "All runs have the same settings but the seed."
            parts.append(html.paragraph(alone))
        every = sorted({key for each in settings for key in each})
        rows = [[key, *(_cell(each, key) for each in settings)] for key in every]
        table = html.table("All settings", ["setting", *names], rows)
        parts.append(html.details(f"All {counted(len(every), 'setting')}", table))
    for each in found.comparisons:
        own = [[k, NOTHING if v is None else str(v)] for k, v in each.settings.items()]
        own.append(["code", each.code])
        title = f"What all runs of {each.folder} share"
        parts.append(html.details(title, html.table(title, ["setting", "value"], own)))
    used = [[name, version] for name, version in versions.items()]
    for version in sorted({run.lightning for run in found.runs if run.lightning}):
        used.append(["pytorch-lightning of the runs", version])
    table = html.table("Versions that made this page", ["package", "version"], used)
    parts.append(html.details("Versions", table))
    return html.section("settings", "Configuration and versions", *parts)


def _cell(settings: Mapping[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else NOTHING
