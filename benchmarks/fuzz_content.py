"""What fuzz.py attacks readers with: content of each format."""

import io
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("LIGHTLY_DID_VERSION_CHECK", "True")  # it would ask the network

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

from rkdo_plugin.recipes.encoders.small import SmallConvNet

SIZE, DIM = 8, 6
PIXELS = 2**20  # that a picture may have
GRAY = np.full((1, SIZE, SIZE, 3), 128, np.uint8)
PREPARED: Any = {"image_size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}


@dataclass(frozen=True)
class Target:
    """A reader, and what it accepts.

    Attributes:
        seeds: Valid content.
        read: Reads content, and asserts that what it accepts is sound.
        refusals: The errors that it documents.
        trees: Valid content as plain values.
        written: Turns such values into content.
        guarded: No other content than the seeds may be accepted.
        lavish: Small content may ask for much memory: checkpoints, as SECURITY.md says,
            and a PNG's chunks, which Pillow asks for whole before it reads them.
    """

    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = (ValueError,)
    trees: Sequence[Any] = ()
    written: Callable[[Any], bytes] = bytes
    guarded: bool = False
    lavish: bool = False


logging.getLogger("tifffile").disabled = True  # it tells each fault of a file

TARGETS: dict[str, Callable[[Path], Target]] = {}


def target(make: Callable[[Path], Target]) -> Callable[[Path], Target]:
    """Let fuzz.py attack what a function makes in a folder."""
    TARGETS[make.__name__] = make
    return make


def at(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Read content by a file."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def reading(content: bytes) -> object:
        path.write_bytes(content)
        return read(path)

    return reading


def as_json(tree: Any) -> bytes:
    """JSON, also of texts that are no UTF-8."""
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def as_yaml(tree: Any) -> bytes:
    """YAML."""
    return yaml.safe_dump(tree, sort_keys=False).encode("utf-8", "surrogatepass")


def as_torch(tree: Any, **how: Any) -> bytes:
    """What `torch.save` writes."""
    file = io.BytesIO()
    torch.save(tree, file, **how)
    return file.getvalue()


def as_picture(kind: str, mode: str = "RGB", **how: Any) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    pixels = np.arange(16 * 12 * 3, dtype=np.uint8).reshape(12, 16, 3)
    Image.fromarray(pixels).convert(mode).save(file, kind, **how)
    return file.getvalue()


def as_array(array: Any) -> bytes:
    """What `numpy.save` writes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def as_parquet(tree: Any) -> bytes:
    """A table of columns, of vectors under "list", and of metadata."""
    columns = {name: pa.array(values) for name, values in tree["columns"].items()}
    table = pa.table(columns)
    if "list" in tree:
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array([number for row in tree["list"] for number in row], pa.float32()),
            len(tree["list"][0]),
        )
        table = table.append_column("vector", vectors)
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(tree["metadata"]), file)
    return file.getvalue()


def network() -> torch.nn.Module:
    """A small encoder."""
    torch.manual_seed(0)
    return SmallConvNet(3, (2, 2, DIM))


class Evil:
    """Pickled, it asks for a program to be run."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/fuzz-ran",)


def finite(array: Any) -> None:
    """Check numbers that were accepted."""
    assert np.isfinite(np.asarray(array)).all(), "accepted numbers that are not finite"


class Session:
    """An encoder whose embedding of an image is its first pixel."""

    image_size = fixed_size = SIZE
    channels = dim = 3
    provider, threads = "cpu", 1
    metadata = {"rkdo.sha256": "a" * 64}  # noqa: RUF012 - as EmbeddingSession's is

    def embed(self, images: Any) -> Any:
        """Embed images."""
        return images[:, 0, 0].astype(np.float32)


def table_of(**columns: Any) -> dict[str, Any]:
    """A table for `as_parquet`, with an encoder's metadata."""
    return {
        "columns": columns,
        "metadata": {"rkdo.sha256": "a" * 64, "rkdo.channels": "3"},
    }
