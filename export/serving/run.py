"""An embedding under way: from a source's images to rows of a table."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import compress
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from tqdm import tqdm

from rkdo_plugin.export.encoder.pictures import listed
from rkdo_plugin.export.reading.decoding import Decoder, Reasons, Rows
from rkdo_plugin.export.reading.item import Item, printable
from rkdo_plugin.export.reading.source import Source
from rkdo_plugin.export.runtime.session import EmbeddingSession

if TYPE_CHECKING:
    from rkdo_plugin.export.serving.ray_engine import RayEngine, RaySession

SLOWER = 0.5  # share of the time that the model waits where decoding is slower
Failure = tuple[str, str]  # a key and a reason
Mapped = Iterator[tuple[list[Item], Rows, Reasons]]
"""What `Decoder.map` yields."""


@dataclass
class Run:
    """An embedding under way: what it reads, with what, and what came of it.

    Attributes:
        dtype: Of the vectors.
        strict: Raise an error at the first image that cannot be read.
        draft: Whether large JPEGs may be decoded at a fraction.
        failed: Keys and reasons of the images that could not be read.
        embedded: Number of rows.
        resumed: Of these, those of earlier runs.
        schema: Of the table, with the encoder's metadata.
        left: The images that earlier runs have not embedded.
        mapped: Embeds images.
        engine: What it is part of.
    """

    session: "EmbeddingSession | RaySession"
    source: Source
    batch_size: int
    dtype: pa.DataType
    strict: bool
    draft: bool
    failed: list[Failure] = field(default_factory=list)
    embedded: int = 0
    resumed: int = 0
    schema: pa.Schema = field(init=False)
    left: Iterable[Item] = field(init=False)
    mapped: Callable[[Iterable[Item]], Mapped] = field(init=False)
    engine: "Decoder | RayEngine" = field(init=False)
    progress: "tqdm[Any]" = field(init=False)

    def __post_init__(self) -> None:
        vectors = pa.list_(self.dtype, self.session.dim)
        fields = [(self.source.key, pa.string()), ("vector", vectors)]
        metadata = self.session.metadata
        self.schema = pa.schema([*fields, *self.source.kept], metadata)
        self.left = self.source

    def rows(self, items: Iterable[Item]) -> Iterator[pa.RecordBatch]:
        """The rows of images that can be read, a chunk of them at a time."""
        before, started = self.engine.waited or 0.0, perf_counter()
        for chunk, embeddings, reasons in self.mapped(self._named(items)):
            if self.engine.waited is not None:
                waited = self.engine.waited - before
                share = waited / (perf_counter() - started)
                slower = "decoding" if share > SLOWER else "model"
                self.progress.set_postfix_str(f"slower: {slower}", refresh=False)
            for item, reason in zip(chunk, reasons, strict=True):
                if reason is not None:
                    self._fail(item.key, reason)
            if len(embeddings):
                readable = compress(chunk, [reason is None for reason in reasons])
                yield self._table([*readable], embeddings)

    def require_images(self) -> None:
        """Raise an error if nothing was embedded."""
        if self.embedded:
            return
        unreadable = [*self.source.unlisted, *self.failed]
        if unreadable:
            key, reason = unreadable[0]
            raise ValueError(
                f"Expected readable images in {self.source} but none of "
                f"{len(unreadable)} can be read; the first is {key}: {reason}"
            )
        others = self.source.others
        found = f"got only {listed(others)}" if others else "found none"
        raise ValueError(f"Expected images in {self.source} but {found}")

    def refuse_others(self) -> None:
        """Raise an error if it is strict and a file is no image."""
        if self.strict and self.source.others:
            raise ValueError(
                f"Expected only images in {self.source} but got "
                f"{listed(self.source.others)}"
            )

    def _named(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that Parquet can name: file names on Linux may be any bytes."""
        for item in items:
            reason = unnameable(item)
            if reason is None:
                yield item
            else:
                self._fail(printable(item.key), reason)

    def _fail(self, key: str, reason: str) -> None:
        if self.strict:
            raise ValueError(
                f"Expected to read all of {self.source} but not {key}: {reason}"
            )
        self.failed.append((key, reason))
        self.progress.update()

    def _table(self, items: list[Item], embeddings: Rows) -> pa.RecordBatch:
        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(embeddings.ravel().astype(self.dtype.to_pandas_dtype())),
            type=self.schema.field("vector").type,
        )
        kept = [
            pa.array([item.kept[place] for item in items], column.type)
            for place, column in enumerate(self.source.kept)
        ]
        self.embedded += len(items)
        self.progress.update(len(items))
        keys = pa.array([item.key for item in items])
        return pa.record_batch([keys, vectors, *kept], schema=self.schema)


def unnameable(item: Item) -> str | None:
    """Why Parquet cannot hold the item's key, if it cannot."""
    try:
        item.key.encode()
    except UnicodeEncodeError as error:
        return f"{type(error).__name__}: {error}"
    return None
