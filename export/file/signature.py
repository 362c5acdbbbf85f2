"""Sign exported files with signers that plugins bring."""

from pathlib import Path
from typing import Protocol

from rkdo_plugin.export.file.model_file import read_model
from rkdo_plugin.export.file.seal import manifest_path
from rkdo_plugin.publish import write_whole


class Signer(Protocol):
    """Signs messages and checks signatures; the hook `rkdo_signers` makes one."""

    def sign(self, message: bytes) -> bytes:
        """Return a signature of a message."""

    def check(self, message: bytes, signature: bytes) -> None:
        """Raise a ValueError if the signature does not belong to the message."""


def sign(model: str | Path, signer: Signer) -> Path:
    """Sign the manifest of an exported file, which holds the checksum of each part.

    Args:
        model: A file that `export_onnx` wrote, with its manifest beside it.
        signer: Makes the signature.

    Returns:
        Path of the signature, NAME.sha256.sig.

    Raises:
        FileNotFoundError: The model or its manifest is missing.
        ValueError: The model is damaged.
    """
    path = Path(model)
    message = _checked_manifest(path)
    signature = _signature_path(path)
    write_whole(signature, signer.sign(message), overwrite=True)
    return signature


def check_signature(model: str | Path, signer: Signer) -> None:
    """Check an exported file against its manifest, and the manifest's signature.

    Args:
        model: A file that `export_onnx` wrote.
        signer: Checks the signature.

    Raises:
        FileNotFoundError: The model, its manifest or its signature is missing.
        ValueError: The model is damaged, or the signature does not belong to it.
    """
    path = Path(model)
    message = _checked_manifest(path)
    try:
        signer.check(message, _signature_path(path).read_bytes())
    except ValueError as error:
        raise ValueError(
            f"Expected a valid signature of {path} but got another: {error}"
        ) from error


def _checked_manifest(path: Path) -> bytes:
    message = manifest_path(path).read_bytes()
    read_model(path)
    return message


def _signature_path(path: Path) -> Path:
    beside = manifest_path(path)
    return beside.with_name(beside.name + ".sig")
