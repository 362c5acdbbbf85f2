"""Find the source that a name stands for."""

from collections.abc import Sequence
from pathlib import Path

from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.reading.folder import Folder, PathList
from rkdo_plugin.export.reading.source import Source
from rkdo_plugin.export.reading.table import Table
from rkdo_plugin.export.reading.tars import Tars, expanded

LISTS = (".txt", ".lst")  # files of paths, by the ends of their names
TABLES = (".parquet",)
TARS = (".tar",)


def open_source(
    name: str | Path, *, column: str | None = None, keep: Sequence[str] = ()
) -> Source:
    """The source that a name stands for.

    Args:
        name: A folder; a .txt file with a path in each line; a .parquet file with a
            column of paths or of bytes; a .tar file in WebDataset's form, or several:
            "shards-{000..127}.tar".
        column: Of a table: that of paths or bytes. By default the first there is of
            image, path and jpg.
        keep: Columns of a table that are carried along; of tar files, the ends of the
            names beside the picture's, such as cls or json.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: It is none of these, there is no such column, or columns are named
            for a source that has none.
    """
    text = str(name)
    if text.endswith(TARS):
        if column is not None:
            raise ValueError(f"Expected no column with tar files but got {column}")
        return Tars(expanded(text), tuple(keep))
    path = Path(text)
    if path.suffix in TABLES and not path.is_dir():
        return Table(path, column, tuple(keep))
    if column is not None or keep:
        named = listed([*([] if column is None else [column]), *keep])
        raise ValueError(f"Expected a table or tar files with columns {named}: {name}")
    if path.suffix in LISTS and not path.is_dir():
        return PathList(path)
    return Folder(path)
