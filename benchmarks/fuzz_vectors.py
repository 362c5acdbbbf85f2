"""What fuzz.py attacks: readers of vectors."""

import contextlib
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # it would ask the network

import numpy as np
import pyarrow.parquet as pq
from fuzz_content import (
    Evil,
    Session,
    Target,
    as_array,
    as_parquet,
    as_picture,
    at,
    finite,
    table_of,
    target,
)

from rkdo_plugin.export import read_vectors
from rkdo_plugin.export.serving.embed import embed_images
from rkdo_plugin.recipes.field.features import _of_file
from rkdo_plugin.recipes.field.vectors import vectors_of


def sound(found: Any) -> None:
    """Check what was accepted as vectors."""
    assert len(found.keys) == len(found) and found.dim > 0, "no rows for the keys"
    assert len(set(found.keys.to_pylist())) == len(found), "a key comes twice"
    finite(found.rows)
    assert found.channels > 0


ROWS = [[0.5, -1.0, 2.0], [1.0, 2.0, 3.0], [0.0, 0.25, 1.0]]
NAMES = ["a.png", "b/c.png", "d.png"]


@target
def vectors(folder: Path) -> Target:
    """What `rkdo embed` wrote, as one file."""
    trees = [table_of(path=NAMES, vector=ROWS), {**table_of(path=NAMES), "list": ROWS}]
    seeds = [as_parquet(tree) for tree in trees]
    read = at(folder / "x.parquet", lambda path: sound(read_vectors(path)))
    return Target(seeds, read, (ValueError,), trees, as_parquet)


@target
def parts(folder: Path) -> Target:
    """A part among others."""
    trees = [table_of(path=NAMES, vector=ROWS), {**table_of(path=NAMES), "list": ROWS}]
    other = {**table_of(path=["e", "f", "g"]), "list": ROWS}
    (folder / "part-00000.parquet").write_bytes(as_parquet(other))
    read = at(
        folder / "part-00001.parquet", lambda path: sound(read_vectors(path.parent))
    )
    return Target(
        [as_parquet(tree) for tree in trees], read, (ValueError,), trees, as_parquet
    )


@target
def array(folder: Path) -> Target:
    """Vectors as one array."""
    (folder / "paths.parquet").write_bytes(as_parquet(table_of(path=NAMES)))
    seeds = [as_array(np.array(ROWS, kind)) for kind in (np.float32, np.float16)]
    seeds += [as_array(np.array([Evil()])), as_array(np.array(ROWS, "U9"))]
    read = at(folder / "vectors.npy", lambda path: sound(read_vectors(path.parent)))
    return Target(seeds, read)


@target
def keys(folder: Path) -> Target:
    """The keys of vectors in one array."""
    (folder / "vectors.npy").write_bytes(as_array(np.array(ROWS, np.float32)))
    tree = table_of(path=NAMES)
    read = at(folder / "paths.parquet", lambda path: sound(read_vectors(path.parent)))
    return Target([as_parquet(tree)], read, (ValueError,), [tree], as_parquet)


@target
def npz(folder: Path) -> Target:
    """Vectors for the start of a field."""
    images = SimpleNamespace(
        name="images", train=SimpleNamespace(files=[Path("images", "a.png")])
    )
    seeds = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, paths=np.array(NAMES), vectors=np.array(ROWS))
        seeds.append(file.getvalue())
    read = at(folder / "x.npz", lambda path: finite(vectors_of(path, images)))
    return Target(seeds, read)


@target
def features(folder: Path) -> Target:
    """Features for the start of a field."""
    seeds = [as_array(np.array(ROWS, kind)) for kind in (np.float64, np.float32, int)]
    seeds += [as_array(np.array([[Evil()]])), as_array(np.array(ROWS, "U9"))]
    return Target(seeds, at(folder / "x.npy", lambda path: finite(_of_file(path, 3))))


@target
def part(folder: Path) -> Target:
    """A part that an interrupted job left."""
    images = folder / "images"
    images.mkdir()
    for number in range(3):
        (images / f"{number}.png").write_bytes(as_picture("PNG"))
    (images / "4.png").write_bytes(b"no picture")

    def job() -> Any:
        quiet = io.StringIO()
        with contextlib.redirect_stderr(quiet):
            return embed_images(
                Session(), images, folder / "out", part_images=2, workers=0
            )

    done = job()
    path = folder / "out" / "part-00001.parquet"
    seed = path.read_bytes()
    metadata = pq.read_metadata(path).metadata
    held = {
        key.decode(): value.decode()
        for key, value in metadata.items()
        if key[:4] == b"rkdo"
    }
    tree = {"held": held, "part": json.loads(held["rkdo.part"])}
    rows = pq.read_table(path)

    def written(tree: Any) -> bytes:
        file = io.BytesIO()
        about = tree["held"] | {"rkdo.part": json.dumps(tree["part"])}
        pq.write_table(rows.replace_schema_metadata(about), file)
        return file.getvalue()

    def read(_: Path) -> None:
        found = job()
        assert (found.images, len(found.unreadable)) == (done.images, 1), str(found)

    return Target([seed], at(path, read), (ValueError,), [tree], written)
