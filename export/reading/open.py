"""Find the source that a name stands for."""

from collections.abc import Sequence
from pathlib import Path, PurePath

from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.reading.files import as_file
from rkdo_plugin.export.reading.folder import Folder, PathList
from rkdo_plugin.export.reading.remote import RemoteFolder
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
            "shards-{000..127}.tar". Any of these by a URL that fsspec knows, such as
            s3://bucket/photographs.
        column: Of a table: that of paths or bytes. By default the first there is of
            image, path and jpg.
        keep: Columns of a table that are carried along; of tar files, the ends of the
            names beside the picture's, such as cls or json.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ImportError: What fsspec needs for such URLs is not installed.
        ValueError: It is none of these, there is no such column, or columns are named
            for a source that has none.
    """
    text = str(name)
    if text.endswith(TARS):
        if column is not None:
            raise ValueError(f"Expected no column with tar files but got {column}")
        return Tars(expanded(text), tuple(keep))
    file = as_file(name)
    path = PurePath(file)
    is_folder = isinstance(file, Path) and file.is_dir()
    if path.suffix in TABLES and not is_folder:
        return Table(file, column, tuple(keep))
    if column is not None or keep:
        named = listed([*([] if column is None else [column]), *keep])
        raise ValueError(f"Expected a table or tar files with columns {named}: {name}")
    if path.suffix in LISTS and not is_folder:
        return PathList(file)
    return Folder(file) if isinstance(file, Path) else RemoteFolder(file)
