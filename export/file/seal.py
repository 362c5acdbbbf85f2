"""A file that carries its own checksum, and the manifest beside it."""

import hashlib
from pathlib import Path

import onnx

from rkdo_plugin.export.file.metadata import PREFIX

SHA256 = PREFIX + "sha256"
BLANK = "0" * 64
# The entry of the metadata as protobuf writes it, up to the checksum's first digit.
_MARK = SHA256.encode() + b"\x12\x40"


def seal(model: onnx.ModelProto, metadata: dict[str, str]) -> tuple[bytes, str]:
    """Serialise a model with its metadata and the checksum of both.

    The checksum is that of the file with 64 zeros in its place, so that a change of any
    byte shows, and equal models give equal bytes.

    Args:
        model: The model; its metadata is replaced.
        metadata: Keys prefixed `rkdo.`.

    Returns:
        The file's content, and the checksum.
    """
    properties = dict(sorted((metadata | {SHA256: BLANK}).items()))
    onnx.helper.set_model_props(model, properties)
    blank: bytes = model.SerializeToString(deterministic=True)
    checksum = hashlib.sha256(blank).hexdigest()
    start = blank.index(_MARK) + len(_MARK)
    return blank[:start] + checksum.encode() + blank[start + len(BLANK) :], checksum


def broken_seal(content: bytes) -> str | None:
    """What is wrong with a file's own checksum; None when it holds."""
    start = content.find(_MARK) + len(_MARK)
    if start < len(_MARK):
        return f"its metadata has no {SHA256}"
    recorded = content[start : start + len(BLANK)]
    digest = hashlib.sha256(content[:start])
    digest.update(BLANK.encode())
    digest.update(content[start + len(BLANK) :])
    found = digest.hexdigest()
    if found.encode() == recorded:
        return None
    return f"its sha256 is {found}, and {recorded.decode(errors='replace')} is recorded"


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file lies."""
    return path.with_name(path.name + ".sha256")


def manifest(files: dict[str, bytes], remarks: str) -> bytes:
    """The checksums of files, as `sha256sum --check` reads them.

    Args:
        files: Content by name.
        remarks: Lines that a person reads; `sha256sum` passes over them.
    """
    lines = [f"# {line}" for line in remarks.splitlines()]
    lines += [f"{hashlib.sha256(data).hexdigest()}  {n}" for n, data in files.items()]
    return ("\n".join(lines) + "\n").encode()


def broken_manifest(path: Path, files: dict[str, bytes]) -> str | None:
    """What the manifest beside a file says against files; None without a manifest.

    Args:
        path: The file.
        files: Content by name.
    """
    try:
        text = manifest_path(path).read_text(errors="replace")
    except FileNotFoundError:
        return None
    # Whatever the names, so that a file and its manifest can be renamed together. While
    # a file is replaced, its manifest lists the older and the newer one.
    listed = {line.partition("  ")[0] for line in text.splitlines()}
    for name, content in files.items():
        found = hashlib.sha256(content).hexdigest()
        if found not in listed:
            return f"the sha256 of {name} is {found}, which its manifest does not list"
    return None
