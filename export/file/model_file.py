"""An exported model on disk: read whole and checked, or written whole."""

import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from rkdo_plugin.export.file.external import locations
from rkdo_plugin.export.file.metadata import PREFIX
from rkdo_plugin.export.file.seal import (
    broken_manifest,
    broken_seal,
    manifest,
    manifest_path,
)
from rkdo_plugin.publish import staged, write_whole

try:
    import fcntl
except ImportError:  # Windows: two exports to one path at once are not kept apart
    fcntl = None  # type: ignore[assignment]

NEEDED = (
    "any_size",
    "channels",
    "dim",
    "image_size",
    "normalize",
    "precision",
    "sha256",
)
RETRIES = 3  # of reading a file that is replaced meanwhile
WEIGHTS_FILE, WEIGHTS_SHA256 = PREFIX + "weights_file", PREFIX + "weights_sha256"


@dataclass(frozen=True)
class ModelFile:
    """What an exported model's files hold.

    Attributes:
        name: The model's file name.
        content: Its bytes.
        metadata: Its metadata; keys are prefixed `rkdo.`.
        weights: Name and content of the weights' file, where there is one.
    """

    name: str
    content: bytes
    metadata: dict[str, str]
    weights: tuple[str, bytes] | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """Content by name."""
        return {self.name: self.content} | dict([self.weights] if self.weights else [])

    @property
    def file_bytes(self) -> int:
        """Bytes of all files together."""
        return sum(len(content) for content in self.files.values())


def read_model(path: Path) -> ModelFile:
    """Read an exported model and check it against its own checksum and its manifest.

    Nothing in it is run, and no file is opened but its own: weights of a model above
    2 GB lie beside it, in a file of the name that the model records.

    Args:
        path: A file written by `export_onnx`.

    Returns:
        The bytes, so that what was checked is what runs.

    Raises:
        FileNotFoundError: There is no such file, or its weights are lost.
        ValueError: It is not an ONNX file, not one of ours, refers to another file, or
            changed since the export.
    """
    for _ in range(RETRIES):
        content = path.read_bytes()
        try:
            return _checked(path, content)
        except (FileNotFoundError, ValueError):
            if path.read_bytes() == content:
                raise
            # It was replaced meanwhile, and its weights and manifest with it.
    return _checked(path, path.read_bytes())


def _checked(path: Path, content: bytes) -> ModelFile:
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(f"{path} is not an ONNX file, or is cut short") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    needed = [PREFIX + key for key in NEEDED]
    missing = [key for key in needed if key not in metadata]
    if missing:
        raise ValueError(
            f"Expected {path} to be written by export_onnx but its metadata has no "
            + ", ".join(missing)
        )
    fault = broken_seal(content)
    if fault is not None:
        raise ValueError(f"{path} is damaged: {fault}")
    loaded = ModelFile(
        path.name, content, metadata, _read_weights(path, model, metadata)
    )
    fault = broken_manifest(path, loaded.files)
    if fault is not None:
        raise ValueError(f"{path} is not the file that was exported: {fault}")
    return loaded


def _read_weights(
    path: Path, model: onnx.ModelProto, metadata: dict[str, str]
) -> tuple[str, bytes] | None:
    named = locations(model)
    if not named:
        return None
    name = metadata.get(WEIGHTS_FILE)
    # A path could point anywhere on this machine.
    if name is None or named != {name} or name != Path(name).name:
        raise ValueError(
            f"Expected the weights of {path} in itself or in the file beside it that "
            f"it records but they are in {', '.join(sorted(named))}"
        )
    beside = path.with_name(name)
    if beside.is_symlink() or not beside.is_file():
        raise FileNotFoundError(
            f"Expected the weights of {path} in {beside} but that is "
            + ("a link" if beside.is_symlink() else "not there")
        )
    content = beside.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != metadata.get(WEIGHTS_SHA256):
        raise ValueError(
            f"{beside} is damaged: its sha256 is {found}, and "
            f"{metadata.get(WEIGHTS_SHA256)} is recorded"
        )
    return name, content


def write_model(
    folder: Path, model: ModelFile, remarks: str, *, overwrite: bool
) -> None:
    """Write a model with its manifest; whenever it stops, what is there can be loaded.

    Without its manifest too, which repeats the checksum in the model: a full disk may
    leave it out.

    Args:
        folder: Where the files appear.
        model: What they hold.
        remarks: Lines for a person, in the manifest.
        overwrite: Whether an older model may be replaced.

    Raises:
        FileExistsError: There is a model and `overwrite` is off.
        OSError: The folder cannot be written to, or the disk is full. Then the older
            files are as they were.
    """
    path = folder / model.name
    beside, checks = manifest_path(path), manifest(model.files, remarks)
    with _alone(folder), staged(path, model.content) as appear:
        before, existed = _weights_beside(path), path.exists()
        older = beside.read_bytes() if beside.exists() else None
        try:
            if model.weights is not None:
                # The name holds the checksum: an older file of it is the same.
                write_whole(folder / model.weights[0], model.weights[1], overwrite=True)
            if older is not None and (overwrite or not existed):
                # Until the model is there, the manifest holds for either.
                write_whole(beside, older + checks, overwrite=True)
            appear(overwrite)
        except OSError:
            for newer in _weights_beside(path) - before:
                newer.unlink()
            with suppress(OSError):  # what is there lists the older file, too
                if older is not None:
                    write_whole(beside, older, overwrite=True)
            raise
        with suppress(OSError):  # what is there holds, and is more than is needed
            write_whole(beside, checks, overwrite=True)
            for stale in before:
                if stale.name not in model.files:
                    stale.unlink()


def _weights_beside(path: Path) -> set[Path]:
    return set(path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 12}.data"))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other exports into the folder."""
    if fcntl is None:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
