"""Vectors of a file, found by the paths of the images of a data set."""

import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rkdo_plugin.export.encoder.arrays import load_array
from rkdo_plugin.export.encoder.pictures import READ_ERRORS, listed
from rkdo_plugin.export.vectors.read import Vectors, read_vectors, require_vectors
from rkdo_plugin.recipes.data.draw import files_of
from rkdo_plugin.recipes.data.images import ImageData

SUFFIXES = (".parquet", ".npz")


def vectors_of(path: Path, data: ImageData) -> NDArray[np.float32]:
    """The vectors (N, F) of the training images, found by their files' paths.

    The file may hold them in any order, and those of other images, too.

    Args:
        path: A .parquet file that `rkdo embed` wrote, or a .npz file with the arrays
            `paths` (M,), strings, and `vectors` (M, F). The paths are relative to the
            folder, or to its subfolder `train`.
        data: The data; it has to be a folder.

    Raises:
        ValueError: The data is no folder; the file has no such columns or arrays, two
            vectors of one path or a number that is not finite; or it lacks some of the
            images.
    """
    files = files_of(data.train)
    if files is None:
        raise ValueError(
            f"Expected a folder of images with {path}, whose vectors are found by the "
            f"paths of files, but got {data.name}"
        )
    found = _of_arrays(path) if path.suffix == ".npz" else read_vectors(path)
    lacking: list[str] = []
    for folder in (Path(data.name), Path(data.name, "train")):
        if not all(file.is_relative_to(folder) for file in files):
            continue
        names = [file.relative_to(folder).as_posix() for file in files]
        rows = found.find(names)
        if (rows >= 0).all():
            return found.rows[rows].astype(np.float32)
        lacking = lacking or [names[place] for place in np.flatnonzero(rows < 0)]
    raise ValueError(
        f"Expected {path} to hold a vector for each of {len(files)} training images in "
        f"{data.name} but it lacks {len(lacking)}: {listed(lacking)}"
    )


def _of_arrays(path: Path) -> Vectors:
    expected = f"Expected {path} to have the arrays paths (M,) and vectors (M, F)"
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{expected} but it is no .npz file")
    try:
        with zipfile.ZipFile(path) as packed:
            paths, vectors = (_unpacked(packed, name) for name in ("paths", "vectors"))
    except READ_ERRORS as error:
        raise ValueError(f"{expected} but got: {error}") from error
    if vectors.ndim != 2 or paths.shape != vectors.shape[:1]:
        raise ValueError(f"{expected} but got {paths.shape} and {vectors.shape}")
    if paths.dtype.kind != "U" or vectors.dtype.kind not in "fiub":
        raise ValueError(
            f"{expected}, strings and numbers, but got {paths.dtype} and "
            f"{vectors.dtype}"
        )
    keys = pa.chunked_array([pa.array(paths.tolist(), pa.string())])
    require_vectors(path, keys, vectors)
    return Vectors(str(path), keys, vectors, {})


def _unpacked(packed: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with packed.open(f"{name}.npy") as file:
        return load_array(cast(BinaryIO, file))
