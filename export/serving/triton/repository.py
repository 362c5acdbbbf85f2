"""Write an exported encoder as a model that Triton serves."""

import errno
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

import onnx

from rkdo_plugin.export.encoder.images import MAX_BATCH
from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.serving.triton.config import MODEL_FILE, model_config, to_text
from rkdo_plugin.export.serving.triton.contract import contract
from rkdo_plugin.publish import give_name, naming

CONFIG_FILE = "config.pbtxt"
HEADER = (
    "# The rkdo.* parameters describe the version that this file was written with;\n"
    "# each version's own are the metadata of its model.onnx.\n"
)


@dataclass(frozen=True)
class TritonVersion:
    """The version that `write_triton_repository` added, or found.

    Attributes:
        folder: Folder of the version, REPOSITORY/NAME/NUMBER.
        new_model: Whether `config.pbtxt` was written. If not, an older one was kept.
        added: Whether the version is new. If not, the newest one was this file already.
    """

    folder: Path
    new_model: bool
    added: bool = True

    def __str__(self) -> str:
        if not self.added:
            return f"already there: {self.folder} is the same file; nothing was added"
        config = self.folder.parent / CONFIG_FILE
        done = "written" if self.new_model else "kept as it was, options not applied"
        return f"version {self.folder.name} in {self.folder}; {config} {done}"


def write_triton_repository(
    model: str | Path,
    repository: str | Path,
    *,
    name: str = "encoder",
    max_batch_size: int = MAX_BATCH,
    batches: Sequence[int] = (1, 8, 32),
    max_queue_delay_microseconds: int = 1000,
    device: Literal["gpu", "cpu"] = "gpu",
    instances: int = 1,
    tensorrt: bool = False,
    serve_versions: int = 1,
) -> TritonVersion:
    """Add an exported encoder to a Triton model repository, as a new version.

    The first version of a name writes `config.pbtxt`. Later versions keep that file
    with all that a person changed in it, and have to fit it: they take the same images
    and return embeddings of the same size. No version is ever overwritten. A file that
    is the newest version already is not added again.

    On a GPU, Triton computes float32 products in TF32, which does not pass the gate of
    `verify`. Set `NVIDIA_TF32_OVERRIDE=0` in the server's environment to prevent that.

    Args:
        model: A file that `export_onnx` wrote.
        repository: The folder that Triton is started on. It is created if missing.
        name: The model's name in Triton's URLs and in the repository.
        max_batch_size: Largest number of images in one run.
        batches: Expected batch sizes. The server prefers to form these, and runs each
            of them once before it reports ready.
        max_queue_delay_microseconds: How long an image may wait for others, in
            microseconds.
        device: Device that runs the model, "gpu" or "cpu".
        instances: Copies of the model on each GPU, or on the CPU.
        tensorrt: Let TensorRT run the model. Each start of the server builds an engine,
            which takes minutes.
        serve_versions: How many of the newest versions are served.

    Returns:
        The folder of the version, whether it is new, and whether the configuration is.

    Raises:
        FileNotFoundError: There is no such model.
        OSError: The repository cannot be written to.
        ValueError: The model is damaged or not a file of `export_onnx`, Triton would
            refuse an option, or the repository's model of this name takes or returns
            other tensors.

    Example:
        >>> print(write_triton_repository("encoder.onnx", "models"))  # doctest: +SKIP
        version 1 in models/encoder/1; models/encoder/config.pbtxt written
    """
    exported = read_model(Path(model))
    graph = onnx.load_model_from_string(exported.content).graph
    config = model_config(
        _dims_without_batch(graph.input[0]),
        _dims_without_batch(graph.output[0]),
        exported.metadata,
        name=name,
        max_batch_size=max_batch_size,
        batches=batches,
        max_queue_delay_microseconds=max_queue_delay_microseconds,
        device=device,
        instances=instances,
        tensorrt=tensorrt,
        serve_versions=serve_versions,
    )
    folder = Path(repository) / name
    # The temporary folder is inside the model's folder, where Triton ignores names that
    # are not numbers. Every folder in the repository itself would count as a model.
    staged = folder / f".{uuid4().hex}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staged.mkdir()
    except OSError as error:
        raise type(error)(
            f"Expected to write to {folder} but got: {error.strerror}"
        ) from error
    try:
        _write(staged / MODEL_FILE, exported.content)
        if exported.weights is not None:
            weights, content = exported.weights
            _write(staged / weights, content)
        new_model = _settle_config(staged / CONFIG_FILE, HEADER + to_text(config))
        newest = folder / str(max(_numbers(folder), default=0))
        if not new_model and _holds(newest / MODEL_FILE, exported.content):
            return TritonVersion(newest, new_model=False, added=False)
        return TritonVersion(_settle_version(staged), new_model)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        with suppress(OSError):  # usually it is not empty, and stays
            folder.rmdir()


def _dims_without_batch(tensor: onnx.ValueInfoProto) -> list[int]:
    dims = tensor.type.tensor_type.shape.dim[1:]
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]


def _write(path: Path, content: bytes) -> None:
    with naming(path), path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _settle_config(draft: Path, text: str) -> bool:
    """Publish the configuration. If there is one already, check that it agrees."""
    config = draft.parent.parent / CONFIG_FILE
    _write(draft, f"{text}\n".encode())
    try:
        give_name(draft, config)  # unlike a rename, this never replaces a file
        return True
    except FileExistsError:
        _require_fit(config, text)
        return False
    finally:
        draft.unlink(missing_ok=True)


def _require_fit(config: Path, text: str) -> None:
    try:
        promised = contract(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"Expected {config} to be a configuration of Triton but got: {error}"
        ) from error
    offered = contract(text)
    for key, value in promised.items():
        if offered.get(key) != value:
            raise ValueError(
                f"Expected `{key}` to be {value}, as in {config}, but got "
                f"{offered.get(key)}; give the model another name"
            )


def _numbers(folder: Path) -> list[int]:
    """The numbers of a model's versions; none where there is no such model."""
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir()]
    return [int(name) for name in names if name.isascii() and name.isdecimal()]


def _holds(path: Path, content: bytes) -> bool:
    """Whether a file has this content. A model's names its weights' sha256."""
    return (
        path.is_file()
        and path.stat().st_size == len(content)
        and path.read_bytes() == content
    )


def _settle_version(staged: Path) -> Path:
    """Move a finished folder to the next free number, which no other writer can get."""
    folder = staged.parent
    while True:
        version = folder / str(max(_numbers(folder), default=0) + 1)
        try:
            return staged.rename(version)
        except OSError as error:
            # Another writer was faster; a folder that is not empty is not replaced.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
