"""From a checkpoint to a verified ONNX file, and from images to embeddings."""

import os
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
    from rkdo_plugin.export.vectors.compare import Comparison, compare_encoders
    from rkdo_plugin.export.vectors.drift import Drift, drift
    from rkdo_plugin.export.vectors.neighbours import Neighbours, neighbours
    from rkdo_plugin.export.vectors.read import Vectors, read_vectors
    from rkdo_plugin.export.vectors.sheet import write_sheet
    from rkdo_plugin.export.verification.report import ParityError, Report
    from rkdo_plugin.export.verification.verify import verify

# onnxruntime from 1.29 on sends an account of each session to Microsoft, unless this is
# set before its first import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "CPUSettings",
    "CUDASettings",
    "Comparison",
    "Diagnosis",
    "Drift",
    "EmbeddedFolder",
    "EmbeddingSession",
    "Encoder",
    "ImageEmbedder",
    "Item",
    "Neighbours",
    "ParityError",
    "ProviderError",
    "RaySession",
    "Report",
    "Signer",
    "Source",
    "TensorRTSettings",
    "TritonVersion",
    "Vectors",
    "check_signature",
    "compare_encoders",
    "drift",
    "embed_folder",
    "embed_images",
    "examine",
    "export_onnx",
    "freeze",
    "neighbours",
    "open_source",
    "quantize",
    "read_vectors",
    "sign",
    "verify",
    "write_sheet",
    "write_triton_repository",
]

_MODULES = {
    "CPUSettings": "runtime.settings",
    "CUDASettings": "runtime.settings",
    "Comparison": "vectors.compare",
    "Diagnosis": "runtime.doctor",
    "Drift": "vectors.drift",
    "EmbeddedFolder": "serving.embed",
    "EmbeddingSession": "runtime.session",
    "Encoder": "encoder.encoder",
    "ImageEmbedder": "encoder.protocol",
    "Item": "reading.item",
    "Neighbours": "vectors.neighbours",
    "ParityError": "verification.report",
    "ProviderError": "runtime.providers",
    "RaySession": "serving.ray_engine",
    "Report": "verification.report",
    "Signer": "file.signature",
    "Source": "reading.source",
    "TensorRTSettings": "runtime.settings",
    "TritonVersion": "serving.triton.repository",
    "Vectors": "vectors.read",
    "check_signature": "file.signature",
    "compare_encoders": "vectors.compare",
    "drift": "vectors.drift",
    "embed_folder": "serving.embed",
    "embed_images": "serving.embed",
    "examine": "runtime.doctor",
    "export_onnx": "onnx",
    "freeze": "encoder.freeze",
    "neighbours": "vectors.neighbours",
    "open_source": "reading.open",
    "quantize": "quantization",
    "read_vectors": "vectors.read",
    "sign": "file.signature",
    "verify": "verification.verify",
    "write_sheet": "vectors.sheet",
    "write_triton_repository": "serving.triton.repository",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: embedding a folder needs no torch."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
