"""From a checkpoint to a verified ONNX file, and from images to embeddings."""

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.freeze import freeze
from rkdo_plugin.export.encoder.protocol import ImageEmbedder
from rkdo_plugin.export.file.signature import Signer, check_signature, sign
from rkdo_plugin.export.onnx import export_onnx
from rkdo_plugin.export.quantize import quantize
from rkdo_plugin.export.runtime.doctor import Diagnosis, examine
from rkdo_plugin.export.runtime.providers import ProviderError
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import (
    CPUSettings,
    CUDASettings,
    TensorRTSettings,
)
from rkdo_plugin.export.serving.embed import EmbeddedFolder, embed_folder
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
    "ParityError",
    "ProviderError",
    "Report",
    "Signer",
    "TensorRTSettings",
    "TritonVersion",
    "check_signature",
    "embed_folder",
    "examine",
    "export_onnx",
    "freeze",
    "quantize",
    "sign",
    "verify",
    "write_triton_repository",
]
