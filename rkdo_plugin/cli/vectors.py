"""`rkdo neighbours`, `rkdo compare` and `rkdo drift`: what vectors say."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rkdo_plugin.export.vectors.sheet import Shown


def neighbours(
    vectors: str,
    queries: list[str],
    model: str | None = None,
    count: int = 8,
    images: str | None = None,
    out: str | None = None,
    overwrite: bool = False,
) -> None:
    """Find the images whose vectors are nearest to those of others, by cosine.

    Args:
        vectors: What `rkdo embed` wrote: a .parquet file or a folder of parts.
        queries: Keys of the vectors, such as paths, or image files.
        model: For image files: the ONNX file that embedded the vectors.
        count: Neighbours of each query.
        images: For --out: what was embedded, such as the folder of images.
        out: Write a contact sheet: NAME.png or NAME.html, or NAME for both.
        overwrite: Replace older contact sheets.
    """
    from rkdo_plugin.export import neighbours

    _require_sheet(images, out, overwrite)
    found = neighbours(vectors, queries, model=model, count=count)
    print(found)
    _write_sheet(found, images, out, overwrite)


def compare(
    first: str,
    second: str,
    count: int = 10,
    queries: int = 1000,
    seed: int = 0,
    images: str | None = None,
    out: str | None = None,
    overwrite: bool = False,
) -> None:
    """Compare two encoders by the vectors of the same images, before you change them.

    Args:
        first: What `rkdo embed` wrote: a .parquet file or a folder of parts.
        second: Likewise, by another encoder; rows are paired by their keys.
        count: Neighbours of an image.
        queries: Images whose neighbours are compared, among all in both.
        seed: Seed of the draw of these.
        images: For --out: what was embedded, such as the folder of images.
        out: Write a contact sheet of the images that moved most: NAME.png or NAME.html,
            or NAME for both.
        overwrite: Replace older contact sheets.
    """
    from rkdo_plugin.export import compare_encoders

    _require_sheet(images, out, overwrite)
    found = compare_encoders(first, second, count=count, queries=queries, seed=seed)
    print(found)
    _write_sheet(found, images, out, overwrite)


def drift(
    reference: str,
    new: str,
    sample: int = 2000,
    permutations: int = 999,
    seed: int = 0,
    fail_below: float | None = None,
) -> None:
    """Say whether new images look like those that an encoder was calibrated on.

    Args:
        reference: What `rkdo embed` wrote: a .parquet file or a folder of parts.
        new: Likewise, by the same encoder.
        sample: Vectors of each that are compared.
        permutations: Shuffles behind the p-values.
        seed: Seed of the draw and of the shuffles.
        fail_below: Exit with status 1 if a p-value is below this.
    """
    from rkdo_plugin.export import drift

    found = drift(reference, new, sample=sample, permutations=permutations, seed=seed)
    print(found)
    if fail_below is not None and found.smallest_p < fail_below:
        raise RuntimeError(
            f"Expected no p-value below {fail_below} but got {found.smallest_p:.4f}"
        )


def _require_sheet(images: str | None, out: str | None, overwrite: bool) -> None:
    """Refuse a contact sheet that could not be written, before the work is done."""
    from rkdo_plugin.export.vectors.sheet import sheet_places

    if (images is None) != (out is None):
        raise ValueError(
            "Expected both --images and --out, for a contact sheet, but got only "
            + ("--out" if images is None else "--images")
        )
    if out is not None:
        sheet_places(out, overwrite=overwrite)


def _write_sheet(
    found: "Shown",
    images: str | None,
    out: str | None,
    overwrite: bool,
) -> None:
    from rkdo_plugin.export import write_sheet

    if images is not None and out is not None:
        for path in write_sheet(found, images, out, overwrite=overwrite):
            print(f"contact sheet: {path}")
