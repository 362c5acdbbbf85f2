"""`rkdo report`: one page about finished runs."""


def report(
    runs: list[str],
    out: str = "report.html",
    root: str | None = None,
    points: int = 500,
    overwrite: bool = False,
) -> None:
    """Put runs on one HTML page, with what may and may not be concluded from them.

    The page loads nothing from elsewhere. It has curves with intervals over seeds, maps
    of test images, fields, the gates of exports, and all settings.

    Args:
        runs: Run folders, folders of rkdo compare-losses, and exported ONNX files.
        out: The page.
        root: Folder that holds the data sets.
        points: Images on a map, at most 1000; 0 for no maps.
        overwrite: Replace an older page.
    """
    from pathlib import Path

    from rkdo_plugin.publish import require_writable, write_whole
    from rkdo_plugin.recipes.report.report import build_report

    require_writable(Path(out), overwrite=overwrite)
    page = build_report(runs, root, points)
    write_whole(Path(out), page.encode(), overwrite=overwrite)
    print(f"report: {out}")
