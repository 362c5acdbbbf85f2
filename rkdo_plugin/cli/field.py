"""`rkdo inspect-field`: what a run's response field has learnt."""

from pathlib import Path


def inspect_field(
    run: str,
    out: str | None = None,
    root: str | None = None,
    samples: int = 12,
    skip_start: bool = False,
) -> None:
    """Show who is whose neighbour in a run's response field: figures and a picture.

    Args:
        run: A run folder, trained with --field.
        out: The picture, a PNG; by default field.png in the run folder.
        root: Folder that holds the data sets.
        samples: Rows of the picture: images with their heaviest neighbours.
        skip_start: Do not compute the field's start again, to compare with.
    """
    from rkdo_plugin.recipes.field.inspect import inspect_field, load_run_field
    from rkdo_plugin.recipes.pictures.field import draw_field

    loaded = load_run_field(Path(run), root)
    report = inspect_field(loaded, start=not skip_start)
    print(report)
    picture = Path(run, "field.png") if out is None else Path(out)
    draw_field(
        picture,
        loaded.field,
        loaded.data.train,
        loaded.data.image_size,
        loaded.labels,
        report.title,
        samples,
    )
    print(f"picture: {picture}")
