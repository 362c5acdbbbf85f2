"""From a checkpoint to a verified ONNX file, and from images to embeddings."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rkdo_plugin.export.encoder.encoder import Encoder
    from rkdo_plugin.export.encoder.freeze import freeze
    from rkdo_plugin.export.encoder.protocol import ImageEmbedder
    from rkdo_plugin.export.file.signature import Signer, check_signature, sign
    from rkdo_plugin.export.onnx import export_onnx
    from rkdo_plugin.export.quantization import quantize
    from rkdo_plugin.export.reading.item import Item
    from rkdo_plugin.export.reading.open import open_source
    from rkdo_plugin.export.reading.source import Source
    from rkdo_plugin.export.runtime.doctor import Diagnosis, examine
    from rkdo_plugin.export.runtime.providers import ProviderError
    from rkdo_plugin.export.runtime.session import EmbeddingSession
    from rkdo_plugin.export.runtime.settings import (
        CPUSettings,
        CUDASettings,
        TensorRTSettings,
    )
    from rkdo_plugin.export.serving.embed import (
        EmbeddedFolder,
        embed_folder,
        embed_images,
    )
    from rkdo_plugin.export.serving.ray_engine import RaySession
    from rkdo_plugin.export.serving.triton.repository import (
        TritonVersion,
        write_triton_repository,
    )
    from rkdo_plugin.export.verification.report import ParityError, Report
    from rkdo_plugin.export.verification.verify import verify

__all__ = [
    "CPUSettings",
    "CUDASettings",
    "Diagnosis",
    "EmbeddedFolder",
    "EmbeddingSession",
    "Encoder",
    "ImageEmbedder",
    "Item",
    "ParityError",
    "ProviderError",
    "RaySession",
    "Report",
    "Signer",
    "Source",
    "TensorRTSettings",
    "TritonVersion",
    "check_signature",
    "embed_folder",
    "embed_images",
    "examine",
    "export_onnx",
    "freeze",
    "open_source",
    "quantize",
    "sign",
    "verify",
    "write_triton_repository",
]

_MODULES = {
    "CPUSettings": "runtime.settings",
    "CUDASettings": "runtime.settings",
    "Diagnosis": "runtime.doctor",
    "EmbeddedFolder": "serving.embed",
    "EmbeddingSession": "runtime.session",
    "Encoder": "encoder.encoder",
    "ImageEmbedder": "encoder.protocol",
    "Item": "reading.item",
    "ParityError": "verification.report",
    "ProviderError": "runtime.providers",
    "RaySession": "serving.ray_engine",
    "Report": "verification.report",
    "Signer": "file.signature",
    "Source": "reading.source",
    "TensorRTSettings": "runtime.settings",
    "TritonVersion": "serving.triton.repository",
    "check_signature": "file.signature",
    "embed_folder": "serving.embed",
    "embed_images": "serving.embed",
    "examine": "runtime.doctor",
    "export_onnx": "onnx",
    "freeze": "encoder.freeze",
    "open_source": "reading.open",
    "quantize": "quantization",
    "sign": "file.signature",
    "verify": "verification.verify",
    "write_triton_repository": "serving.triton.repository",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: embedding a folder needs no torch."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
