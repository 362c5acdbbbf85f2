"""`rkdo benchmark paper`: the published experiment, as far as it is not there yet."""

import sys
from functools import partial
from pathlib import Path

from rkdo_plugin.options import check_count
from rkdo_plugin.publish import write_whole
from rkdo_plugin.recipes.comparison.images import fingerprint
from rkdo_plugin.recipes.comparison.parallel import Runner
from rkdo_plugin.recipes.comparison.results import TABLE, Results, Row, code_version
from rkdo_plugin.recipes.comparison.runs import one_thread
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.data.held import hold
from rkdo_plugin.recipes.evaluation.accuracy import raw_pixels
from rkdo_plugin.recipes.paper.costs import step_costs
from rkdo_plugin.recipes.paper.images import PaperImages, paper_images
from rkdo_plugin.recipes.paper.protocol import ICON, RKDO, Protocol
from rkdo_plugin.recipes.paper.report import paper_report
from rkdo_plugin.recipes.paper.run import PIXELS, UNTRAINED, feature_scores, run_seed
from rkdo_plugin.recipes.paper.scored import Result, Scored

RUN_KEY = ("loss", "seed")


def run_paper(
    data: str,
    folder: Path,
    *,
    root: str | None = None,
    jobs: int = 1,
    restart: bool = False,
    published: str | None = None,
    protocol: Protocol | None = None,
) -> str:
    """Train and score what the folder does not have yet, and report.

    Args:
        data: What `load_data` takes.
        folder: Receives runs.jsonl, from which an interrupted benchmark goes on, and
            table.md.
        root: Folder that holds the data sets.
        jobs: Number of runs at once, each in a process of one thread.
        restart: Remove the results that are there.
        published: The paper's data set whose figures stand beside ours; `data` itself
            by default.
        protocol: How runs are trained; by default as published.

    Returns:
        The tables, in Markdown.

    Raises:
        RuntimeError: A run failed; the others went on, and the table is there.
        ValueError: The data has no classes or too few images, `jobs` is not positive,
            or the folder holds results of other data, or of another version of the
            code.
    """
    check_count("jobs", jobs)
    protocol = protocol or Protocol()
    held = hold(load_data(data, root=root))
    images = paper_images(held, protocol)
    shared = {
        "code": code_version(),
        "data": fingerprint(held),
        "protocol": str(protocol),
    }
    results = Results(folder, shared, RUN_KEY, restart=restart)
    runs = [{"loss": PIXELS, "seed": 0}] + [
        {"loss": loss, "seed": seed}
        for seed in protocol.seeds
        for loss in (UNTRAINED, RKDO, ICON)
    ]
    left = [run for run in runs if not results.finished(run)]
    with Runner(partial(attempt, protocol), images, jobs) as runner:
        for number, (run, outcome) in enumerate(runner.run(left), start=1):
            results.add(run, outcome)
            said = outcome.get("error", "finished")
            name = f"{run['loss']}, seed {run['seed']}"
            print(f"{number}/{len(left)}: {name}: {said}", file=sys.stderr, flush=True)
    rows = [results[run] for run in runs]
    scored = Scored(data, _of_rows(rows))
    with one_thread():
        costs = step_costs(images, protocol)
    report = paper_report(scored, costs, published or data)
    write_whole(folder / TABLE, f"{report}\n".encode(), overwrite=True)
    failed = [row for row in rows if "error" in row]
    if failed:
        reasons = [
            f"{row['loss']}, seed {row['seed']}: {row['error']}" for row in failed
        ]
        raise RuntimeError(
            f"Expected {len(runs)} runs to end but {len(failed)} failed, which the "
            f"same command repeats: {'; '.join(reasons)}; the others are in "
            f"{folder / TABLE}"
        )
    return report


def attempt(protocol: Protocol, run: Row, images: PaperImages) -> Row:
    """The "scores" of a run by its lengths, or an "error" and its reason."""
    with one_thread():
        try:
            if run["loss"] == PIXELS:
                scores = {0: feature_scores(images, raw_pixels)}
            else:
                scores = dict(run_seed(run["loss"], run["seed"], images, protocol))
        except Exception as error:  # whatever it is, the others go on
            return {"error": f"{type(error).__name__}: {error}"}
    # As JSON has it: the names of an object are text.
    return {"scores": {str(epochs): each for epochs, each in scores.items()}}


def _of_rows(rows: list[Row]) -> list[Result]:
    return [
        Result(row["loss"], row["seed"], int(epochs), scores)
        for row in rows
        for epochs, scores in row.get("scores", {}).items()
    ]
