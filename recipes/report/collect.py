"""Read all that a report is about, and refuse what does not compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rkdo_plugin.recipes.comparison.results import RUNS
from rkdo_plugin.recipes.evaluation.run_folder import CONFIG
from rkdo_plugin.recipes.report.arms import Arm, arms_of
from rkdo_plugin.recipes.report.comparisons import (
    FoundComparison,
    read_found_comparison,
)
from rkdo_plugin.recipes.report.exports import FoundExport, read_found_export
from rkdo_plugin.recipes.report.runs import FoundRun, read_found_run


@dataclass(frozen=True)
class Collected:
    """What a report is about.

    Attributes:
        arms: Runs, grouped by their settings but the seed.
        comparisons: What `rkdo compare-losses` left.
        exports: Exported files.
    """

    arms: list[Arm]
    comparisons: list[FoundComparison]
    exports: list[FoundExport]

    @property
    def runs(self) -> list[FoundRun]:
        """All runs of the arms."""
        return [run for arm in self.arms for run in arm.runs]

    @property
    def finished(self) -> list[Arm]:
        """The arms whose runs came to their end."""
        return [arm for arm in self.arms if arm.finished]

    @property
    def data(self) -> str | None:
        """The data of all runs and comparisons; None where there are exports alone."""
        settings = [run.config for run in self.runs]
        settings += [each.settings for each in self.comparisons]
        return str(settings[0]["data"]) if settings else None


def collect(paths: Sequence[str | Path]) -> Collected:
    """Read run folders, folders of comparisons and ONNX files.

    Args:
        paths: In the order of the report.

    Raises:
        FileNotFoundError: A path is none of these.
        ValueError: There is no path, a file is damaged, runs are of different data, or
            a run is there twice.
    """
    if not paths:
        raise ValueError("Expected at least one run, comparison or ONNX file")
    runs: list[FoundRun] = []
    comparisons: list[FoundComparison] = []
    exports: list[FoundExport] = []
    for path in map(Path, paths):
        if path.suffix == ".onnx":
            exports.append(read_found_export(path))
        elif (path / RUNS).is_file():
            comparisons.append(read_found_comparison(path))
        elif (path / CONFIG).is_file():
            runs.append(read_found_run(path))
        else:
            raise FileNotFoundError(
                f"Expected a run folder with {CONFIG}, a comparison with {RUNS} or an "
                f"ONNX file but {path} is none"
            )
    _require_same_data(runs, comparisons)
    return Collected(arms_of(runs), comparisons, exports)


def _require_same_data(
    runs: Sequence[FoundRun], comparisons: Sequence[FoundComparison]
) -> None:
    """Refuse figures of different images, which do not compare."""
    names = [(str(run.folder), run.config["data"]) for run in runs]
    names += [(str(each.folder), each.settings["data"]) for each in comparisons]
    _require_equal(names, "data")
    _require_equal([(str(c.folder), c.fingerprint) for c in comparisons], "images")
    by_limit: dict[Any, list[tuple[str, Any]]] = {}
    for run in runs:
        if run.num_samples is not None:
            counts = f"{run.num_samples} of {run.num_classes} classes"
            others = by_limit.setdefault(run.config.get("limit"), [])
            others.append((str(run.folder), counts))
    for counted in by_limit.values():
        _require_equal(counted, "training images")


def _require_equal(found: Sequence[tuple[str, Any]], what: str) -> None:
    for path, value in found[1:]:
        first_path, first = found[0]
        if value != first:
            raise ValueError(
                f"Expected the same {what} in all, since figures of different images "
                f"do not compare, but {first_path} has {first} and {path} has {value}; "
                "make a report of each"
            )
