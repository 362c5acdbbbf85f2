"""Vectors as one array on disk, with the keys beside it."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from rkdo_plugin.alone import alone
from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.reading.table import reading_table
from rkdo_plugin.export.serving.parts import FAILED, PART, into_parts
from rkdo_plugin.export.serving.run import Run
from rkdo_plugin.publish import growing, remove_drafts

VECTORS, PATHS, PARTS = "vectors.npy", "paths.parquet", "parts"
ROWS = 1024  # whose vectors are in memory at once


def into_arrays(run: Run, output: Path, part_images: int, restart: bool) -> None:
    """Write parts, which a job goes on with, and make one array of them at the end.

    Raises:
        BlockingIOError: Another process writes there.
        FileExistsError: The arrays are there already, or the folder holds other files.
        OSError: The folder cannot be written to.
        ValueError: Nothing was embedded, or the parts are of another job.
    """
    output.mkdir(exist_ok=True)
    with alone(output):
        _fill(run, output, part_images, restart)


def _fill(run: Run, output: Path, part_images: int, restart: bool) -> None:
    remove_drafts(output, VECTORS, PATHS)
    names = sorted(path.name for path in output.iterdir())
    strange = [
        name
        for name in names
        if name not in (VECTORS, PATHS, PARTS, FAILED) and name[0] != "."
    ]
    if strange:
        raise FileExistsError(
            f"Expected {output} to be a new folder, or one of vectors, but it has "
            f"{listed(strange)}"
        )
    if VECTORS in names and not restart:
        raise FileExistsError(
            f"Expected no file at {output / VECTORS} but there is one; pass `restart` "
            "to begin anew"
        )
    parts = output / PARTS
    into_parts(run, parts, part_images, restart)
    run.require_images()
    files = sorted(path for path in parts.iterdir() if PART.fullmatch(path.name))
    with reading_table(parts):
        count = sum(pq.read_metadata(file).num_rows for file in files)
    # The vectors get their name last: whoever finds them finds the rest.
    with (
        growing(output / VECTORS, overwrite=restart) as array,
        growing(output / PATHS, overwrite=True) as keys,
        reading_table(parts),
    ):
        schema = run.schema.remove(run.schema.get_field_index("vector"))
        # Not through a memory map: a full disk would kill the process.
        with pq.ParquetWriter(keys, schema) as writer:
            kind = np.dtype(run.dtype.to_pandas_dtype())
            header = {
                "descr": np.lib.format.dtype_to_descr(kind),
                "fortran_order": False,
                "shape": (count, run.session.dim),
            }
            np.lib.format.write_array_header_1_0(array, header)
            for file in files:
                others = pq.read_table(
                    file, columns=schema.names, page_checksum_verification=True
                )
                writer.write_table(others.cast(schema))
                with pq.ParquetFile(file, page_checksum_verification=True) as part:
                    for rows in part.iter_batches(ROWS, columns=["vector"]):
                        array.write(rows["vector"].flatten().to_numpy())
        if restart:  # an older job's vectors must never meet these keys
            (output / VECTORS).unlink(missing_ok=True)
        (output / FAILED).unlink(missing_ok=True)
        if (parts / FAILED).exists():
            shutil.copy(parts / FAILED, output / FAILED)
    shutil.rmtree(parts)
