"""The parity gate: an exported file computes what its encoder computes."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch

from rkdo_plugin.export.encoder import Encoder
from rkdo_plugin.export.images import UInt8Array, require_images, sample_images
from rkdo_plugin.export.report import Report
from rkdo_plugin.export.session import RUNTIME_ERRORS, EmbeddingSession

BATCHES = (1, 2, 7, 33)
# Height and width of each batch over the image size, where images may be of any size.
SHAPES = ((1.0, 1.5), (1.3, 1.0), (1.0, 1.0), (1.0, 1.0))
MAX_ABS = 1e-5
MAX_ONE_MINUS_COSINE = 1e-9
MAX_NORM_ERROR = 1e-6

Embeddings = npt.NDArray[np.float64]


def verify(
    path: str | Path, encoder: Encoder, images: UInt8Array | None = None
) -> Report:
    """Compare an exported file with the encoder it was made from.

    Both run on batches of 1, 2, 7 and 33 images, onnxruntime on the CPU. The gate is
    max |difference| <= 1e-5, 1 - cosine <= 1e-9, norms 1 +- 1e-6, all finite. Where the
    encoder does not normalise, the first is relative to the largest component if that
    is more than 1, and stands for the next two: near the origin a direction says
    nothing. An encoder of any image size gets the first batches in other shapes.

    Args:
        path: The exported file.
        encoder: The encoder.
        images: Real images, uint8 (N, H, W, C): the first 43 are compared, repeated
            when there are fewer. None: generated pictures.

    Returns:
        The figures; `passed` is False, with reasons, when the gate did not hold or the
        file cannot be loaded or run.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: The images are not uint8.
        ValueError: The images are not of the encoder's shape, or there are none.
    """
    started = time.perf_counter()
    if images is None:
        images = sample_images(sum(BATCHES), encoder.image_size, encoder.channels)
    require_images(images, encoder.image_size, encoder.channels)
    shapes = SHAPES if encoder.any_size else ((1.0, 1.0),) * len(BATCHES)
    if len(images) == 0:
        raise ValueError("Expected at least one image to verify with but got none")
    images = images[np.arange(sum(BATCHES)) % len(images)]
    reference = _by_batches(images, shapes, lambda batch: _embed(encoder, batch))
    scale = 1.0 if encoder.normalize else max(1.0, float(np.abs(reference).max()))
    try:
        onnx.checker.check_model(str(path), full_check=True)
        session = EmbeddingSession(path, provider="cpu")
        exported = _by_batches(images, shapes, session.embed)
        if exported.shape != reference.shape:
            raise ValueError(
                f"Expected {reference.shape[1]} components an embedding but got "
                f"{exported.shape[1]}"
            )
        max_abs, max_one_minus_cosine, max_norm_error = _distances(reference, exported)
        finite = bool(np.isfinite(reference).all() and np.isfinite(exported).all())
        bounds = [
            ("max |difference|", max_abs, MAX_ABS * scale),
            ("max 1 - cosine", max_one_minus_cosine, MAX_ONE_MINUS_COSINE),
            ("max |norm - 1|", max_norm_error, MAX_NORM_ERROR),
        ]
        if not encoder.normalize:
            del bounds[1:]
            max_norm_error = float("nan")
        failures = _broken_bounds(bounds, finite)
    except (ValueError, onnx.checker.ValidationError, *RUNTIME_ERRORS) as error:
        max_abs = max_one_minus_cosine = max_norm_error = float("nan")
        finite = False
        failures = (f"the file does not run: {error}",)
    return Report(
        failures=failures,
        max_abs=max_abs,
        max_one_minus_cosine=max_one_minus_cosine,
        max_norm_error=max_norm_error,
        scale=scale,
        finite=finite,
        batches=BATCHES,
        images=len(images),
        file_bytes=Path(path).stat().st_size,
        parameter_bytes=sum(4 * p.numel() for p in encoder.backbone.parameters()),
        seconds=time.perf_counter() - started,
    )


def _embed(encoder: Encoder, batch: UInt8Array) -> npt.NDArray[np.float32]:
    with torch.inference_mode():
        # Someone may have put a part of the encoder back into training mode.
        images = torch.from_numpy(batch).to(encoder.mean.device)
        embeddings: npt.NDArray[np.float32] = encoder.eval()(images).cpu().numpy()
    return embeddings


def _by_batches(
    images: UInt8Array,
    shapes: Sequence[tuple[float, float]],
    embed: Callable[[UInt8Array], npt.NDArray[np.float32]],
) -> Embeddings:
    parts = np.split(images, np.cumsum(BATCHES)[:-1])
    return np.concatenate(
        [
            embed(_repeated(part, *shape))
            for part, shape in zip(parts, shapes, strict=True)
        ]
    ).astype(np.float64)


def _repeated(images: UInt8Array, height: float, width: float) -> UInt8Array:
    """Images of other sides, filled as by tiles."""
    sides = [round(images.shape[1] * share) for share in (height, width)]
    rows, columns = (np.arange(side) % images.shape[1] for side in sides)
    return images[:, rows][:, :, columns]


def _distances(reference: Embeddings, exported: Embeddings) -> tuple[float, ...]:
    """Largest |difference|, 1 - cosine and |norm - 1|; NaN where an input has one."""
    norms = [np.linalg.norm(side, axis=1) for side in (reference, exported)]
    # A zero embedding has no direction: it counts as orthogonal, and fails.
    product = np.maximum(norms[0] * norms[1], np.finfo(np.float64).tiny)
    cosine = (reference * exported).sum(axis=1) / product
    return (
        float(np.abs(reference - exported).max()),
        float((1 - cosine).max()),
        float(np.abs(np.concatenate(norms) - 1).max()),
    )


def _broken_bounds(
    figures: Sequence[tuple[str, float, float]], finite: bool
) -> tuple[str, ...]:
    """What is wrong with figures of a name, a value and a bound each."""
    failures = tuple(
        f"expected {name} <= {bound:.0e} but got {value:.1e}"
        for name, value, bound in figures
        if not value <= bound  # NaN is not within any bound
    )
    return failures if finite else (*failures, "expected finite embeddings")
