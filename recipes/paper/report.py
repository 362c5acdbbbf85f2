"""The paper's tables beside ours, in Markdown."""

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np

from rkdo_plugin.recipes.comparison.paired import holm, paired_difference
from rkdo_plugin.recipes.comparison.words import markdown_table, p_value
from rkdo_plugin.recipes.paper.costs import Cost
from rkdo_plugin.recipes.paper.protocol import (
    EPOCHS,
    ICON,
    NAMES,
    PUBLISHED_LINEAR,
    PUBLISHED_LOSS,
    RKDO,
)
from rkdo_plugin.recipes.paper.run import PIXELS, UNTRAINED
from rkdo_plugin.recipes.paper.scored import Scored

OWN = {RKDO: "held-out RKDO", ICON: "held-out I-Con"}
YARDSTICKS = ("held-out InfoNCE", "held-out I-Con", "held-out RKDO")
ACCURACIES = ("kNN", "linear", "NMI", "ARI", "neighbours")
TITLES = NAMES | {UNTRAINED: "untrained", PIXELS: "raw pixels"}


def paper_report(
    results: Scored, costs: Sequence[Cost] = (), published: str = ""
) -> str:
    """The tables.

    Args:
        results: What was run.
        costs: Of a step; none for no table of them.
        published: The paper's data set whose figures stand beside.
    """
    parts = [
        _losses(results, published),
        _accuracies(results, published),
        _tests(results),
    ]
    if costs:
        parts.append(_costs(costs))
    return "\n\n".join(parts)


def _losses(results: Scored, published: str) -> str:
    heads = ["epochs", "seeds", "RKDO", "I-Con", "reduction", "paper's"]
    heads += [f"{yardstick}: {NAMES[loss]}" for yardstick, loss in _yardsticks()]
    start = {loss: results.of(UNTRAINED, 0, own) for loss, own in OWN.items()}
    rows = []
    if start[RKDO]:
        common = [results.of(UNTRAINED, 0, y) for y, _ in _yardsticks()]
        rows.append(_loss_row("untrained", start[RKDO], start[ICON], "", common))
    for epochs in results.epochs:
        rkdo, icon = (results.of(loss, epochs, "loss") for loss in (RKDO, ICON))
        common = [results.of(loss, epochs, y) for y, loss in _yardsticks()]
        cut = _published_cut(published, epochs)
        rows.append(_loss_row(str(epochs), rkdo, icon, cut, common))
    return _titled(
        f"{results.data}: training loss, and held-out losses as a common yardstick",
        markdown_table(heads, rows),
        "Each objective has its own units: read the reduction beside that of the "
        "untrained encoder. The yardsticks are the same loss of both encoders on the "
        "same views of test images.",
    )


def _loss_row(
    name: str,
    rkdo: dict[int, float],
    icon: dict[int, float],
    published: str,
    common: Iterable[dict[int, float]],
) -> list[str]:
    """A row over the seeds that both losses have."""
    seeds = sorted(rkdo.keys() & icon.keys())
    both = [{seed: part[seed] for seed in seeds} for part in (rkdo, icon)]
    cut = ""
    if seeds:
        own, other = (np.mean([*part.values()]) for part in both)
        cut = f"{1 - own / other:.1%}"
    cells = [name, str(len(seeds)), *(_spread(part, 4) for part in both)]
    shared = [{s: each for s, each in part.items() if s in seeds} for part in common]
    return [*cells, cut, published, *(_spread(part, 3) for part in shared)]


def _published_cut(data: str, epochs: int) -> str:
    losses = PUBLISHED_LOSS.get(data)
    if losses is None or epochs not in EPOCHS:
        return ""
    at = EPOCHS.index(epochs)
    rkdo, icon = losses[RKDO][at], losses[ICON][at]
    return f"{rkdo:.4f}, {icon:.4f}: {1 - rkdo / icon:.1%}"


def _accuracies(results: Scored, published: str) -> str:
    trained = product(results.epochs, (RKDO, ICON))
    arms = [(PIXELS, 0), (UNTRAINED, 0), *((loss, e) for e, loss in trained)]
    rows = []
    for loss, epochs in arms:
        cells = [results.of(loss, epochs, score) for score in ACCURACIES]
        if not cells[0]:
            continue
        length = f", {epochs} epoch{'s' * (epochs > 1)}" if epochs else ""
        known = PUBLISHED_LINEAR.get(published, {}).get(loss)
        theirs = ""
        if known is not None and epochs in EPOCHS:
            theirs = f"{100 * known[EPOCHS.index(epochs)]:.2f}"
        spreads = [_spread(cell, 2, 100) for cell in cells]
        rows.append([TITLES[loss] + length, *spreads, theirs])
    return _titled(
        f"{results.data}: frozen features, in %",
        markdown_table(["encoder", *ACCURACIES, "paper's linear"], rows),
    )


def _tests(results: Scored) -> str:
    family = [
        (score, epochs)
        for score in (*YARDSTICKS, *ACCURACIES)
        for epochs in results.epochs
        if results.pairs(epochs, score)[0]
    ]
    found = [
        paired_difference(*results.pairs(epochs, score)) for score, epochs in family
    ]
    corrected = holm([difference.p for difference in found])
    tests = sum(not np.isnan(difference.p) for difference in found)
    heads = ["measure", "epochs", "seeds", "difference", "95 % interval", "p"]
    rows = []
    for (score, epochs), each, p in zip(family, found, corrected, strict=True):
        digits, scale = (3, 1) if score in YARDSTICKS else (2, 100)
        mean, low, high = (
            f"{scale * value:+.{digits}f}" for value in (each.mean, each.low, each.high)
        )
        interval = "none" if np.isnan(each.p) else f"{low} to {high}"
        cells = [score, str(epochs), str(each.pairs), mean, interval]
        rows.append([*cells, p_value(each.p), p_value(p)])
    return _titled(
        f"{results.data}: RKDO - I-Con, paired by seed",
        markdown_table([*heads, "p, corrected"], rows),
        "95 % intervals by Student's t, of 3 seeds or more; p after Holm's correction "
        f"for {tests} tests. Losses: lower is better; else, in points: higher is "
        "better.",
    )


def _costs(costs: Sequence[Cost]) -> str:
    first = costs[0]
    rows = [
        [
            cost.loss,
            f"{cost.seconds:.3f}",
            f"{cost.seconds / first.seconds:.2f}",
            f"{cost.flops / 1e9:.3f}",
            f"{cost.flops / first.flops - 1:+.4%}",
        ]
        for cost in costs
    ]
    heads = ["loss", "seconds", "beside I-Con", "GFLOPs", "beside I-Con"]
    return _titled("A step", markdown_table(heads, rows))


def _titled(title: str, table: str, words: str = "") -> str:
    return "\n\n".join(part for part in (f"### {title}", words, table) if part)


def _yardsticks() -> list[tuple[str, str]]:
    return list(product(YARDSTICKS, (RKDO, ICON)))


def _spread(scores: dict[int, float], digits: int, scale: float = 1) -> str:
    """Mean and standard deviation over seeds."""
    values = scale * np.array(list(scores.values()))
    if len(values) == 0:
        return ""
    deviation = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{deviation}"
