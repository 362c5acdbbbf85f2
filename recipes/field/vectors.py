"""Vectors of a file that `rkdo embed` wrote, for the images of a data set."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.recipes.data.draw import files_of
from rkdo_plugin.recipes.data.images import ImageData


def vectors_of(path: Path, data: ImageData) -> NDArray[np.float32]:
    """The vectors (N, D) of the training images, found by their files' paths.

    The file may hold them in any order, and those of other images, too.

    Args:
        path: A .parquet file that `rkdo embed` wrote of the same folder, or of its
            subfolder `train`.
        data: The data; it has to be a folder.

    Raises:
        ValueError: The data is no folder, the file has no such columns, or it lacks
            some of the images.
    """
    files = files_of(data.train)
    if files is None:
        raise ValueError(
            f"Expected a folder of images with {path}, whose vectors are found by the "
            f"paths of files, but got {data.name}"
        )
    try:
        table = pq.read_table(path, columns=["path", "vector"])
        vectors = np.stack(table["vector"].to_numpy())
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError, ValueError) as error:
        raise ValueError(
            f"Expected {path} to have the columns path and vector, which rkdo embed "
            f"writes, but got: {error}"
        ) from error
    rows = {name: row for row, name in enumerate(table["path"].to_pylist())}
    lacking: list[str] = []
    for folder in (Path(data.name), Path(data.name, "train")):
        if not all(file.is_relative_to(folder) for file in files):
            continue
        names = [file.relative_to(folder).as_posix() for file in files]
        missing = [name for name in names if name not in rows]
        if not missing:
            return vectors[[rows[name] for name in names]].astype(np.float32)
        lacking = lacking or missing
    raise ValueError(
        f"Expected {path} to hold a vector for each of {len(files)} training images in "
        f"{data.name} but it lacks {len(lacking)}: {listed(lacking)}"
    )
