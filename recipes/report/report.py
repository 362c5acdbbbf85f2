"""Make the page: collect, compare, draw, and put everything in its place."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rkdo_plugin.export.encoder.image_size import optional_image_size
from rkdo_plugin.recipes.data import load_data
from rkdo_plugin.recipes.report.arms import Arm
from rkdo_plugin.recipes.report.charts import plotting_script
from rkdo_plugin.recipes.report.collect import Collected, collect
from rkdo_plugin.recipes.report.conclusions import conclude
from rkdo_plugin.recipes.report.fields import FieldSheet, field_sheet
from rkdo_plugin.recipes.report.maps import Map, MapImages, map_images, map_of
from rkdo_plugin.recipes.report.page import page
from rkdo_plugin.recipes.report.results import results_of
from rkdo_plugin.recipes.report.sections import (
    comparison_section,
    conclusions_section,
    curves_section,
    exports_section,
    fields_section,
    maps_section,
    results_section,
    settings_section,
)
from rkdo_plugin.recipes.report.words import counted

PACKAGES = ("rkdo-plugin", "lightly", "pytorch-lightning", "torch")


def build_report(
    paths: Sequence[str | Path], root: str | None = None, points: int = 500
) -> str:
    """One self-contained HTML page about runs.

    Args:
        paths: Run folders, folders of comparisons, and ONNX files.
        root: Folder that holds the data sets.
        points: Images on a map; 0 for no maps.

    Raises:
        FileNotFoundError: A path is no run, no comparison and no ONNX file.
        ImportError: vl-convert is not installed.
        ValueError: A file is damaged, runs are of different data, or a run is there
            twice.
    """
    plotting = plotting_script()
    found = collect(paths)
    results = results_of(found.finished)
    images, maps, no_maps = _maps(found.finished, root, points)
    sheets, no_sheets = _sheets(found.finished, root)
    conclusions = conclude(
        found,
        results,
        maps=bool(maps),
        held_out=None if images is None else images.held_out,
    )
    versions = {name: version(name) for name in PACKAGES}
    versions["Python"] = platform.python_version()
    sections = [
        results_section(found, results),
        conclusions_section(conclusions),
        curves_section(found.arms),
        *(comparison_section(each, n) for n, each in enumerate(found.comparisons)),
        maps_section(maps, images, no_maps),
        fields_section(sheets, no_sheets),
        exports_section(found.exports),
        settings_section(found, versions),
    ]
    thumbnails = [] if images is None else images.thumbnails
    return page(_title(found), [_lead(found)], sections, thumbnails, plotting)


def _title(found: Collected) -> str:
    return "Exported files" if found.data is None else f"Runs on {found.data}"


def _lead(found: Collected) -> str:
    parts = []
    if found.runs:
        arms = counted(len(found.arms), "arm")
        parts.append(f"{counted(len(found.runs), 'run')} in {arms}")
    if found.comparisons:
        parts.append(counted(len(found.comparisons), "comparison"))
    if found.exports:
        parts.append(counted(len(found.exports), "exported file"))
    arm = " Runs of an arm differ in nothing but the seed." if found.runs else ""
    return f"{', '.join(parts)}.{arm}"


def _maps(
    arms: Sequence[Arm], root: str | None, points: int
) -> tuple[MapImages | None, dict[str, Map], list[str]]:
    """The maps of the arms' first runs, and why some are missing."""
    if points == 0 or not arms:
        return None, {}, []
    config = arms[0].runs[0].config
    size = optional_image_size(config.get("image_size"))
    try:
        data = load_data(config["data"], root=root, image_size=size)
    except (FileNotFoundError, ValueError) as error:
        return None, {}, [f"No maps, since the images are not there: {error}"]
    images = map_images(data, points)
    maps, missing = {}, []
    for arm in arms:
        try:
            maps[arm.name] = map_of(arm.runs[0].folder, images)
        except ValueError as error:
            missing.append(f"No map of {arm.name}: {error}")
    return images, maps, missing


def _sheets(
    arms: Sequence[Arm], root: str | None
) -> tuple[dict[str, FieldSheet], list[str]]:
    """The contact sheets of the arms' first runs with fields, and why some are not."""
    sheets, missing = {}, []
    for arm in arms:
        if arm.settings.get("field") is None:
            continue
        try:
            sheets[arm.name] = field_sheet(arm.runs[0].folder, root)
        except (FileNotFoundError, ValueError) as error:
            missing.append(f"No contact sheet of {arm.name}: {error}")
    return sheets, missing
