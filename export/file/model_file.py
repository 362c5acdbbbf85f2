"""Read an exported model and check it, or write one whole."""

import glob
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from rkdo_plugin.alone import alone
from rkdo_plugin.export.file.external import locations
from rkdo_plugin.export.file.metadata import (
    PREFIX,
    WEIGHTS_FILE,
    WEIGHTS_SHA256,
)
from rkdo_plugin.export.file.seal import (
    broken_manifest,
    broken_seal,
    manifest,
    manifest_path,
)
from rkdo_plugin.publish import remove_drafts, staged, write_whole

NEEDED = (  # keys that every file has
    "any_size",
    "channels",
    "dim",
    "image_size",
    "normalize",
    "precision",
    "sha256",
)
RETRIES = 3  # how often a file is read again that was replaced meanwhile


@dataclass(frozen=True)
class ModelFile:
    """The files of an exported model, in memory.

    Attributes:
        name: The model's file name.
        content: Bytes of the model's file.
        metadata: Its metadata. The keys start with `rkdo.`.
        weights: Name and bytes of the weights' file. None if the model holds them.
    """

    name: str
    content: bytes
    metadata: dict[str, str]
    weights: tuple[str, bytes] | None = None

    @property
    def files(self) -> dict[str, bytes]:
        """Bytes of each file, by name."""
        return {self.name: self.content} | dict([self.weights] if self.weights else [])

    @property
    def file_bytes(self) -> int:
        """Size of all files together, in bytes."""
        return sum(len(content) for content in self.files.values())


def read_model(path: Path) -> ModelFile:
    """Read an exported model and check it against its own checksum and its manifest.

    Nothing in the file is run. Only the model's own files are opened: the weights of a
    model above 2 GB lie beside it, in a file whose name the model records.

    Args:
        path: A file that `export_onnx` wrote.

    Returns:
        The bytes that were checked. Run these instead of reading the file again.

    Raises:
        FileNotFoundError: There is no such file, or its weights are missing.
        IsADirectoryError: The path is a folder.
        ValueError: It is not an ONNX file, `export_onnx` did not write it, it refers to
            a file that is not its own, or it changed since the export.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"Expected an exported model at {path} but found no such file"
        )
    if path.is_dir():
        raise IsADirectoryError(
            f"Expected an ONNX file but got the folder {path}; export the run first: "
            f"rkdo export {path} encoder.onnx"
        )
    for _ in range(RETRIES):
        content = path.read_bytes()
        try:
            return _checked(path, content)
        except (FileNotFoundError, ValueError):
            if path.read_bytes() == content:
                raise
            # The model was replaced meanwhile, with its weights and its manifest.
    return _checked(path, path.read_bytes())


def _checked(path: Path, content: bytes) -> ModelFile:
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(
            f"Expected an ONNX file at {path} but it is another file or cut short"
        ) from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    needed = [PREFIX + key for key in NEEDED]
    missing = [key for key in needed if key not in metadata]
    if missing:
        raise ValueError(
            f"Expected a file of export_onnx at {path} but its metadata lacks "
            + ", ".join(missing)
        )
    fault = broken_seal(content)
    if fault is not None:
        raise ValueError(f"Expected {path} to be undamaged but {fault}")
    loaded = ModelFile(
        path.name, content, metadata, _read_weights(path, model, metadata)
    )
    fault = broken_manifest(path, loaded.files)
    if fault is not None:
        raise ValueError(
            f"Expected {path} to be the file that was exported but {fault}"
        )
    return loaded


def _read_weights(
    path: Path, model: onnx.ModelProto, metadata: dict[str, str]
) -> tuple[str, bytes] | None:
    named = locations(model)
    if not named:
        return None
    name = metadata.get(WEIGHTS_FILE)
    # A path in the model could point to any file of this machine.
    if name is None or named != {name} or name != Path(name).name:
        raise ValueError(
            f"Expected the weights of {path} in the file itself, or in the file beside "
            f"it that it records, but they are in {', '.join(sorted(named))}"
        )
    beside = path.with_name(name)
    if beside.is_symlink() or not beside.is_file():
        raise FileNotFoundError(
            f"Expected the weights of {path} in {beside} but "
            + ("it is a link" if beside.is_symlink() else "found no such file")
        )
    content = beside.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != metadata.get(WEIGHTS_SHA256):
        raise ValueError(
            f"Expected {beside} to be undamaged but its sha256 is {found} and "
            f"{path.name} records {metadata.get(WEIGHTS_SHA256)}"
        )
    return name, content


def write_model(
    folder: Path, model: ModelFile, remarks: str, *, overwrite: bool
) -> None:
    """Write a model, its weights if they are apart, and its manifest.

    The steps are ordered so that the model in the folder can be loaded at any time: it
    is either the older one or the new one, even if the process is killed. If the disk
    is full, the new manifest may be missing. The model can be loaded without it, as it
    contains its own checksum.

    Args:
        folder: Where the files appear.
        model: The files.
        remarks: Lines for a person, in the manifest.
        overwrite: Whether an older model may be replaced.

    Raises:
        FileExistsError: There is an older model and `overwrite` is off.
        OSError: The folder cannot be written to, or the disk is full. The older files
            are then as they were.
    """
    path = folder / model.name
    beside = manifest_path(path)
    with alone(folder, wait=True):
        remove_drafts(folder, glob.escape(path.name), glob.escape(beside.name))
        _settle(path, beside, model, manifest(model.files, remarks), overwrite)


def _settle(
    path: Path, beside: Path, model: ModelFile, checks: bytes, overwrite: bool
) -> None:
    with staged(path, model.content) as appear:
        before, existed = _weights_beside(path), path.exists()
        older = beside.read_bytes() if beside.exists() else None
        try:
            if model.weights is not None:
                # Its name contains its checksum: an older file of that name is equal.
                write_whole(
                    path.with_name(model.weights[0]), model.weights[1], overwrite=True
                )
            if older is not None and (overwrite or not existed):
                # Until the new model is there, the manifest lists both models.
                write_whole(beside, older + checks, overwrite=True)
            appear(overwrite)
        except OSError:
            for newer in _weights_beside(path) - before:
                newer.unlink()
            with suppress(OSError):  # the manifest may stay: it lists the older model
                if older is not None:
                    write_whole(beside, older, overwrite=True)
            raise
        with suppress(OSError):  # the manifest may stay: it lists the new model, too
            write_whole(beside, checks, overwrite=True)
            for stale in before:
                if stale.name not in model.files:
                    stale.unlink()


def _weights_beside(path: Path) -> set[Path]:
    return set(path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 12}.data"))
