"""From a checkpoint to a verified ONNX file, and from images to embeddings."""

from rkdo_plugin.export.doctor import Diagnosis, examine
from rkdo_plugin.export.embed import EmbeddedFolder, embed_folder
from rkdo_plugin.export.encoder import Encoder
from rkdo_plugin.export.freeze import freeze
from rkdo_plugin.export.onnx import export_onnx
from rkdo_plugin.export.providers import ProviderError
from rkdo_plugin.export.quantize import quantize
from rkdo_plugin.export.report import ParityError, Report
from rkdo_plugin.export.session import EmbeddingSession
from rkdo_plugin.export.settings import CPUSettings, CUDASettings, TensorRTSettings
from rkdo_plugin.export.signature import Signer, check_signature, sign
from rkdo_plugin.export.triton import TritonVersion, write_triton_repository
from rkdo_plugin.export.verify import verify

__all__ = [
    "CPUSettings",
    "CUDASettings",
    "Diagnosis",
    "EmbeddedFolder",
    "EmbeddingSession",
    "Encoder",
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
