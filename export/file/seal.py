"""The checksum inside an exported file, and the manifest beside it."""

import hashlib
from pathlib import Path

import onnx

from rkdo_plugin.export.file.metadata import SHA256

BLANK = "0" * 64
# The metadata's entry as protobuf writes it, up to the first digit of the checksum.
_MARK = SHA256.encode() + b"\x12\x40"


def seal(model: onnx.ModelProto, metadata: dict[str, str]) -> tuple[bytes, str]:
    """Serialise a model with its metadata and a checksum of both.

    The checksum is computed of the file with 64 zeros in place of the checksum. So it
    covers every byte of the file, and equal models give equal bytes.

    Args:
        model: The model. Its metadata is replaced.
        metadata: The metadata. Its keys start with `rkdo.`.

    Returns:
        Bytes of the file, and the checksum.
    """
    properties = dict(sorted((metadata | {SHA256: BLANK}).items()))
    onnx.helper.set_model_props(model, properties)
    blank: bytes = model.SerializeToString(deterministic=True)
    checksum = hashlib.sha256(blank).hexdigest()
    start = blank.index(_MARK) + len(_MARK)
    return blank[:start] + checksum.encode() + blank[start + len(BLANK) :], checksum


def broken_seal(content: bytes) -> str | None:
    """Check the checksum inside a file.

    Args:
        content: Bytes of the file.

    Returns:
        What is wrong. None if the checksum holds.
    """
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
    return f"its sha256 is {found} and it records {recorded.decode(errors='replace')}"


def manifest_path(path: Path) -> Path:
    """Return the path of a file's manifest."""
    return path.with_name(path.name + ".sha256")


def manifest(files: dict[str, bytes], remarks: str) -> bytes:
    """List the checksums of files in the format of `sha256sum --check`.

    Args:
        files: Bytes of each file, by name.
        remarks: Lines for a person. `sha256sum` ignores them.

    Returns:
        Bytes of the manifest.
    """
    lines = [f"# {line}" for line in remarks.splitlines()]
    lines += [f"{hashlib.sha256(data).hexdigest()}  {n}" for n, data in files.items()]
    return ("\n".join(lines) + "\n").encode()


def broken_manifest(path: Path, files: dict[str, bytes]) -> str | None:
    """Check files against the manifest beside the first of them.

    Args:
        path: The file whose manifest is read.
        files: Bytes of each file, by name.

    Returns:
        What is wrong. None if every file is listed, or if there is no manifest.
    """
    try:
        text = manifest_path(path).read_text(errors="replace")
    except FileNotFoundError:
        return None
    # Names are ignored, so that you can rename a file and its manifest together. While
    # a file is being replaced, its manifest lists both the older and the newer file.
    listed = {line.partition("  ")[0] for line in text.splitlines()}
    for name, content in files.items():
        found = hashlib.sha256(content).hexdigest()
        if found not in listed:
            return f"the sha256 of {name} is {found}, which its manifest does not list"
    return None
