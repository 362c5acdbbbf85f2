"""Tar files in WebDataset's form."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import PurePath

import pyarrow as pa

from rkdo_plugin.export.encoder.pictures import has_picture_name, listed
from rkdo_plugin.export.reading.files import File, as_file, existing, open_file
from rkdo_plugin.export.reading.item import Item, Part, opened
from rkdo_plugin.export.reading.source import Listed


class Tars(Listed):
    """Tar files in WebDataset's form: a sample's files have one name but for its end.

    The key is the tar file's name and the sample's: "shard-000.tar/0001".

    Args:
        files: In this order.
        keep: Ends of names, such as cls, whose files' texts are carried along.

    Raises:
        FileNotFoundError: A file is missing.
    """

    key = "key"

    def __init__(self, files: Sequence[File], keep: tuple[str, ...]) -> None:
        super().__init__()
        self.files = [existing(file) for file in files]
        self.kept = [pa.field(name, pa.string()) for name in keep]

    def __str__(self) -> str:
        return listed([str(file) for file in self.files])

    def __iter__(self) -> Iterator[Item]:
        self.others, self.unlisted = [], []
        for key, sample in self._samples():
            picture = _picture_of(sample)
            if picture is None:
                self.others += [f"{key}.{end}" for end in sample]
                continue
            ends = [field.name for field in self.kept]
            kept = [_text(sample[end]) if end in sample else None for end in ends]
            yield Item(key, picture, tuple(kept))

    def count(self) -> int:
        """The number of samples with a picture: reads no more than the headers."""
        every = Tars(self.files, ())._samples()
        return sum(_picture_of(sample) is not None for _, sample in every)

    def _samples(self) -> Iterator[tuple[str, dict[str, Part]]]:
        """Keys, and the parts of each sample by the ends of their names."""
        for file in self.files:
            tar, stem, sample = PurePath(file).name, "", dict[str, Part]()
            for name, part in self._members(file):
                folder, _, base = name.rpartition("/")
                begin, _, end = base.partition(".")
                if (new := f"{folder}/{begin}".lstrip("/")) != stem and sample:
                    yield f"{tar}/{stem}", sample
                    sample = {}
                stem = new
                sample[end] = part
            if sample:
                yield f"{tar}/{stem}", sample

    def _members(self, file: File) -> Iterator[tuple[str, Part]]:
        """Names and parts of the members, up to the first damage, which is noted."""
        read = 0
        try:
            with (
                open_file(file) as content,
                tarfile.open(fileobj=content, mode="r:") as tar,
            ):
                size = content.seek(0, os.SEEK_END)
                content.seek(0)
                for member in tar:
                    # Negative ones would lead to other bytes, large ones to memory.
                    if not 0 <= member.size <= size - member.offset_data:
                        raise tarfile.ReadError(f"damaged or cut after {read} members")
                    read += 1
                    if member.isfile():
                        yield (
                            member.name,
                            Part(file, member.offset_data, member.size),
                        )
                    tar.members = []  # type: ignore[attr-defined]  # it would keep all
                content.seek(tar.offset)
                # tarfile ends at damage as it does at the end mark, a block of zeros.
                if content.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"damaged or cut after {read} members")
        except (tarfile.TarError, ValueError, OverflowError, MemoryError) as error:
            self.unlisted.append((str(file), f"{type(error).__name__}: {error}"))


def expanded(name: str) -> list[File]:
    """The files of a name with ranges in braces, as WebDataset writes them."""
    pieces: list[list[str]] = []
    rest = name
    while "{" in rest:
        before, _, rest = rest.partition("{")
        inside, closed, rest = rest.partition("}")
        first, dots, last = inside.partition("..")
        if not closed or (dots and not (first.isdigit() and last.isdigit())):
            raise ValueError(f"Expected braces such as {{000..127}} but got {name}")
        numbers = range(int(first), int(last) + 1) if dots else ()
        choices = [f"{n:0{len(first)}}" for n in numbers] if dots else inside.split(",")
        pieces += [[before], choices]
    return [as_file("".join(choice)) for choice in product(*pieces, [rest])]


def _picture_of(sample: dict[str, Part]) -> Part | None:
    """The first part whose name is a picture's."""
    ends = (end for end in sample if has_picture_name(f"x.{end}"))
    return sample.get(next(ends, ""))


def _text(part: Part) -> str:
    with opened(part) as file:
        return file.read().decode("utf-8", "replace")
