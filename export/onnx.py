"""Write an encoder as one verified ONNX file."""

import dataclasses
import time
from pathlib import Path
from typing import Literal

import onnx

from rkdo_plugin.export.encoder import Encoder
from rkdo_plugin.export.graph import to_graph
from rkdo_plugin.export.images import UInt8Array
from rkdo_plugin.export.metadata import PREFIX, describe
from rkdo_plugin.export.publish import publish
from rkdo_plugin.export.report import ParityError, Report
from rkdo_plugin.export.verify import verify

MAX_BYTES = 2**31 - 2**20  # protobuf's limit for one file, less room for the graph


def export_onnx(
    encoder: Encoder,
    path: str | Path,
    *,
    precision: Literal["fp32"] = "fp32",
    overwrite: bool = False,
    images: UInt8Array | None = None,
) -> Report:
    """Export an encoder; the file exists only if it passed verification.

    The graph takes `image`, uint8 (batch, H, W, C), and returns `embedding`, float32
    (batch, D), of norm 1 if the encoder normalises; scaling is inside. Equal encoders
    give equal bytes.

    Args:
        encoder: The encoder, from `freeze` or built directly.
        path: Where the file appears.
        precision: Arithmetic inside the graph.
        overwrite: Whether an older file at `path` may be replaced.
        images: Real images to verify with, uint8 (N, H, W, C); None: generated ones.

    Returns:
        The report of the verification; `seconds` covers the whole export.

    Raises:
        FileExistsError: `path` exists and `overwrite` is off.
        OSError: The folder of `path` is missing or cannot be written to.
        ParityError: The file did not compute what the encoder computes.
        RuntimeError: torch cannot express the encoder as an ONNX graph.
        ValueError: The precision is not supported, the weights do not fit one file,
            or the images do not fit the encoder.

    Example:
        >>> encoder = freeze("runs/digits/checkpoint.ckpt")  # doctest: +SKIP
        >>> print(export_onnx(encoder, "encoder.onnx"))  # doctest: +SKIP
        parity passed on 43 images, batches 1, 2, 7, 33
          ...
    """
    started = time.perf_counter()
    path = Path(path)
    if precision != "fp32":
        raise ValueError(f"Expected `precision` to be 'fp32' but got '{precision}'")
    weights = encoder.state_dict().values()
    size = sum(value.numel() * value.element_size() for value in weights)
    if size > MAX_BYTES:
        raise ValueError(
            f"Expected weights of at most {MAX_BYTES:,} bytes, which is what one ONNX "
            f"file can hold, but got {size:,}"
        )
    with publish(path, overwrite=overwrite) as temporary:
        model = to_graph(encoder)
        metadata = describe(encoder, model)
        _write(model, metadata, temporary)
        report = verify(temporary, encoder, images)
        if not report.passed:
            raise ParityError(report)
        # Only the metadata changes between what was verified and what is published.
        _write(model, metadata | _figures(report), temporary)
        file_bytes = temporary.stat().st_size
    return dataclasses.replace(
        report, file_bytes=file_bytes, seconds=time.perf_counter() - started
    )


def _figures(report: Report) -> dict[str, str]:
    """The report as metadata, without its times: equal exports have equal bytes."""
    return {
        PREFIX + "parity.max_abs": f"{report.max_abs:.1e}",
        PREFIX + "parity.max_one_minus_cosine": f"{report.max_one_minus_cosine:.1e}",
        PREFIX + "parity.scale": f"{report.scale:.1e}",
        PREFIX + "parity.max_norm_error": f"{report.max_norm_error:.1e}",
        PREFIX + "parity.batches": ",".join(map(str, report.batches)),
        PREFIX + "parity.images": str(report.images),
    }


def _write(model: onnx.ModelProto, metadata: dict[str, str], path: Path) -> None:
    onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
    path.write_bytes(model.SerializeToString(deterministic=True))
