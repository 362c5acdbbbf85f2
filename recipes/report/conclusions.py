"""What may be concluded from a report, and what may not: sentences from facts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rkdo_plugin.recipes.comparison.paired import FEWEST
from rkdo_plugin.recipes.comparison.words import p_value
from rkdo_plugin.recipes.report.collect import Collected
from rkdo_plugin.recipes.report.results import KNN, Result
from rkdo_plugin.recipes.report.words import counted, difference, score

FEW = 5  # seeds, below which an interval rests on little


@dataclass(frozen=True)
class Conclusions:
    """Two lists of sentences.

    Attributes:
        may: What may be concluded.
        may_not: What may not.
    """

    may: list[str]
    may_not: list[str]


def conclude(
    found: Collected, results: Sequence[Result], *, maps: bool, held_out: bool | None
) -> Conclusions:
    """Say what follows from what was collected.

    Args:
        found: All that the report is about.
        results: The scores of its finished arms.
        maps: Whether the page has maps.
        held_out: Whether their images are test images; None where that is not known.
    """
    may: list[str] = []
    may_not: list[str] = []
    _scores(found, results, may, may_not)
    _curves(found, may_not)
    for each in found.comparisons:
        may.append(
            f"What a shorter run reaches in {each.folder}: each point is of complete "
            "runs of its length."
        )
        if each.failed:
            may_not.append(
                f"That {each.folder} is complete: {counted(len(each.failed), 'run')} "
                "failed, and no mean counts them."
            )
    _exports(found, may, may_not)
    if maps:
        may_not.append(
            "How far apart or how large groups are, from a map: t-SNE keeps who is "
            "near whom, not distances. A map shows one run, of the smallest seed."
        )
        if held_out is False:
            may_not.append(
                "Where new images would lie: the data has no test images, so the maps "
                "show training images."
            )
    if found.data is not None:
        may_not.append(f"What happens on other data: all figures are of {found.data}.")
    if not may:
        may.append("Nothing beyond these very runs.")
    return Conclusions(may, may_not)


def _scores(
    found: Collected, results: Sequence[Result], may: list[str], may_not: list[str]
) -> None:
    scored = [result for result in results if result.score is not None]
    if found.runs and not scored:
        may_not.append(
            "How good the features are: no finished run logged an accuracy. Train with "
            "--knn-every, or use rkdo evaluate."
        )
    if not scored:
        return
    for result in scored:
        if result.score is not None and result.score.low is not None:
            may.append(
                f"That runs of {result.arm.name} score {score(result.score)} in the "
                f"mean: {result.score.seeds} seeds."
            )
    first = scored[0].arm.name
    for result in scored[1:]:
        name, against = result.arm.name, result.against
        if against is None:
            may_not.append(
                f"That {name} is better or worse than {first}: they share no seed."
            )
        elif result.differs:
            kind = "better" if against.mean > 0 else "worse"
            may.append(
                f"That {name} scores {kind} than {first}: {difference(against)}, p "
                f"{p_value(result.p)} by Holm, {against.pairs} seeds of both."
            )
        elif math.isnan(result.p):
            may_not.append(
                f"That {name} is better or worse than {first}: {difference(against)}, "
                "which may be chance."
            )
        else:
            may_not.append(
                f"That {name} is better or worse than {first}, or that they are equal: "
                f"{difference(against)}, p {p_value(result.p)} by Holm, "
                f"{against.pairs} seeds of both."
            )
    scores = {r.arm.name: r.score for r in scored if r.score is not None}
    without = [name for name, own in scores.items() if own.low is None]
    if without:
        may_not.append(
            "That another seed would score alike: there is no interval of fewer than "
            f"{FEWEST} seeds, or of equal scores ({'; '.join(without)})."
        )
    if any(own.low is not None and own.seeds < FEW for own in scores.values()):
        may_not.append(
            f"That the intervals are exact: with fewer than {FEW} seeds they rest on "
            "the assumption that scores are spread normally."
        )
    may_not.append(
        "That the best epoch, or the best of many arms, is as good on new images: kNN "
        "accuracy while training is measured on the test images. The page takes each "
        "run's last value, not its best."
    )
    if len(scored) > 1:
        may_not.append(
            "That the arms were tuned alike: runs do not record how their settings "
            "were found. rkdo compare-losses tunes all on the same grid."
        )


def _curves(found: Collected, may_not: list[str]) -> None:
    if len({arm.objective for arm in found.arms}) > 1:
        may_not.append(
            "Anything from losses of different objectives, which do not compare. Each "
            "objective has a plot of its own."
        )
    if any(KNN in run.curves for run in found.runs):
        may_not.append(
            "What a shorter run would reach: at a point inside a curve the learning "
            "rate has not decayed as at the end of a run."
        )
    unfinished = [arm for arm in found.arms if not arm.finished]
    if unfinished:
        names = "; ".join(arm.name for arm in unfinished)
        may_not.append(
            f"That all went well: {counted(len(unfinished), 'run')} did not finish "
            f"({names}) and no mean counts them. If they stopped because they went "
            "badly, the others look better than they are."
        )
    versions = {run.lightning for run in found.runs} - {None}
    if len(versions) > 1:
        may_not.append(
            "That settings alone make the difference: the runs used Lightning "
            f"{', '.join(sorted(map(str, versions)))}."
        )
    if len(found.runs) > 1:
        may_not.append(
            "That all runs saw the same images: they record the name of the data and "
            "the number of images, not the images."
        )


def _exports(found: Collected, may: list[str], may_not: list[str]) -> None:
    for each in found.exports:
        name, report = each.path.name, each.report
        if report is None:
            may_not.append(
                f"How closely {name} computes what its encoder computes: {each.remark}."
            )
        elif report.passed:
            may.append(
                f"That {name} computes what {report.compared_with} computes: within "
                f"the bounds of {report.precision}, on {report.images:,} images."
            )
        else:
            may_not.append(
                f"That {name} computes what its encoder computes: it failed its "
                "verification. Do not use it."
            )
