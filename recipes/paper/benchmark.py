"""`rkdo benchmark paper`: the published experiment, as far as it is not there yet."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from rkdo_plugin.options import check_count
from rkdo_plugin.recipes.comparison.results import code_version
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.evaluation.accuracy import raw_pixels
from rkdo_plugin.recipes.paper.costs import step_costs
from rkdo_plugin.recipes.paper.images import PaperImages, paper_images
from rkdo_plugin.recipes.paper.protocol import ICON, RKDO, Protocol
from rkdo_plugin.recipes.paper.report import paper_report
from rkdo_plugin.recipes.paper.results import Result, Results, ResultsFile
from rkdo_plugin.recipes.paper.run import PIXELS, UNTRAINED, feature_scores, run_seed

FILE, TABLE = "results.jsonl", "table.md"
Run = tuple[str, int]  # loss and seed
Outcome = list[Result] | Exception

_images: PaperImages  # of a worker process


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
        folder: Receives results.jsonl, from which an interrupted benchmark goes on,
            and table.md.
        root: Folder that holds the data sets.
        jobs: Number of processes, each with one thread.
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
    images = paper_images(load_data(data, root=root), protocol)
    path = folder / FILE
    if restart:
        path.unlink(missing_ok=True)
    about = {"data": data, "protocol": str(protocol), "code": code_version()}
    file = ResultsFile(path, about)
    there = {(r.loss, r.seed) for r in file.results}
    if (PIXELS, 0) not in there:
        file.add([Result(PIXELS, 0, 0, feature_scores(images, raw_pixels))])
    missing = [
        (loss, seed)
        for seed in protocol.seeds
        for loss in (UNTRAINED, RKDO, ICON)
        if (loss, seed) not in there
    ]
    failed = []
    for number, (run, outcome) in enumerate(
        _run_all(missing, images, protocol, jobs), 1
    ):
        name = f"{run[0]}, seed {run[1]}"
        if isinstance(outcome, Exception):
            failed.append(f"{name}: {outcome}")
        else:
            file.add(outcome)
        print(f"{number} of {len(missing)}: {name}", flush=True)
    report = paper_report(
        Results(published or data, file.results), step_costs(images, protocol)
    )
    (folder / TABLE).write_text(report + "\n")
    if failed:
        raise RuntimeError(
            f"Expected {len(missing)} runs to end but {len(failed)} failed, which the "
            f"same command repeats: {'; '.join(failed)}; the others are in "
            f"{folder / TABLE}"
        )
    return report


def _run_all(
    runs: list[Run], images: PaperImages, protocol: Protocol, jobs: int
) -> Iterator[tuple[Run, Outcome]]:
    """Each run with its results, or why it failed, as it ends."""
    if jobs == 1:
        for run in runs:
            yield run, _outcome(run, protocol, images)
        return
    # Forked processes would inherit threads that wait for locks.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, _hold, (images,)) as pool:
        futures = {pool.submit(_held_outcome, run, protocol): run for run in runs}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _hold(images: PaperImages) -> None:
    global _images
    _images = images
    torch.set_num_threads(1)


def _held_outcome(run: Run, protocol: Protocol) -> Outcome:
    return _outcome(run, protocol, _images)


def _outcome(run: Run, protocol: Protocol, images: PaperImages) -> Outcome:
    try:
        lengths = run_seed(*run, images, protocol)
        return [Result(*run, epochs, scores) for epochs, scores in lengths]
    except Exception as error:  # whatever it is, the others go on
        return error
