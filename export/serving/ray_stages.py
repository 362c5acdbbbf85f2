"""What the workers of a Ray cluster run. A row of their data set is a chunk of images.

The column holds Python objects: so Ray neither converts keys of any bytes nor pixels.
"""

import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from rkdo_plugin.export.encoder.image_size import ImageSize, sides
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.file.model_file import ModelFile
from rkdo_plugin.export.reading.decoding import Reasons, Rows
from rkdo_plugin.export.reading.item import Item, Place
from rkdo_plugin.export.reading.worker import decode_into
from rkdo_plugin.export.runtime.providers import ProviderError
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import Provider
from rkdo_plugin.export.serving.run import unnameable

CHUNK = "chunk"  # the column

Row = dict[str, Any]
Listed = tuple[list[str], list[Place]]
"""Keys of a chunk, and where the images are."""
Decoded = tuple[list[str], UInt8Array, Reasons]
"""Keys, pixels (n, H, W, C) of the images that could be read, and reasons."""
Embedded = tuple[list[str], Rows, Reasons]
"""Keys, rows (n, D) of the images that could be read, and reasons."""


@dataclass(frozen=True)
class Reader:
    """Lists items, in chunks of a number of images."""

    items: Iterable[Item]
    images: int
    folder: str  # the caller's, which relative paths start from

    def __call__(self, _: object) -> Iterator[dict[str, list[bytes]]]:
        """Yield the rows of the data set, each as a batch."""
        _enter(self.folder)
        items = (item for item in self.items if unnameable(item) is None)
        while chunk := list(islice(items, self.images)):
            listed = [item.key for item in chunk], [item.place for item in chunk]
            yield {CHUNK: [pickle.dumps(listed)]}


@dataclass(frozen=True)
class Pixels:
    """Decodes chunks of images."""

    image_size: ImageSize
    channels: int
    folder: str
    draft: bool

    def __call__(self, row: Row) -> Row:
        """Decode a row."""
        return {CHUNK: pickle.dumps(self.decode(pickle.loads(row[CHUNK])))}

    def decode(self, listed: Listed) -> Decoded:
        """Decode a chunk."""
        _enter(self.folder)
        keys, places = listed
        shape = (len(places), *sides(self.image_size), self.channels)
        pixels = np.empty(shape, dtype=np.uint8)
        reasons = decode_into(
            pixels, places, self.image_size, self.channels, self.draft
        )
        return keys, pixels[[reason is None for reason in reasons]], reasons


class Embedder:
    """An actor that holds one session, and decodes if no other stage does.

    Args:
        model: The object store's reference to the model.
        provider: What computes.
        batch_size: Number of images that run at once.
        pixels: Decodes; None if the rows are decoded.
    """

    def __init__(
        self, model: Any, provider: Provider, batch_size: int, pixels: Pixels | None
    ) -> None:
        import ray

        file: ModelFile = ray.get(model)
        self.batch_size, self.pixels = batch_size, pixels
        self.refused: str | None = None
        try:
            self.session = EmbeddingSession(file, provider, threads=1)
        except ProviderError as error:  # Ray would start the actor again
            self.refused = str(error)

    def __call__(self, row: Row) -> Row:
        """Embed a row; the row says so if the provider did not load."""
        if self.refused is not None:
            return {CHUNK: pickle.dumps(RuntimeError(self.refused))}
        chunk = pickle.loads(row[CHUNK])
        decoded: Decoded = chunk if self.pixels is None else self.pixels.decode(chunk)
        keys, pixels, reasons = decoded
        starts = range(0, max(1, len(pixels)), self.batch_size)
        batches = [pixels[start : start + self.batch_size] for start in starts]
        rows = np.concatenate([self.session.embed(batch) for batch in batches])
        return {CHUNK: pickle.dumps((keys, rows, reasons))}


def _enter(folder: str) -> None:
    with suppress(OSError):  # absolute paths need no such folder
        os.chdir(folder)
