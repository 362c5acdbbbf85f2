"""The parity gate: an exported file computes what its encoder computes."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import onnx
import torch

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.images import UInt8Array, require_images
from rkdo_plugin.export.file.metadata import PRECISION
from rkdo_plugin.export.file.model_file import ModelFile, read_model
from rkdo_plugin.export.file.seal import SHA256
from rkdo_plugin.export.runtime.providers import (
    RUNTIME_ERRORS,
    Provider,
    ProviderError,
    require_provider,
)
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import CPUSettings
from rkdo_plugin.export.verification.distances import (
    WORST,
    Labels,
    Neighborhoods,
    distances,
    neighborhoods,
)
from rkdo_plugin.export.verification.gates import PRECISIONS, require_precision
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.export.verification.side_by_side import (
    BATCHES,
    batched,
    pictures,
    run_both,
)

NAN = float("nan")


def verify(
    path: str | Path,
    encoder: Encoder | EmbeddingSession,
    images: UInt8Array | None = None,
    labels: Labels | None = None,
    *,
    provider: Provider = "cpu",
) -> Report:
    """Compare an exported file with what it was made from.

    Both run on batches of 1, 2, 7 and 33 images, then of 64. The gate is that of the
    file's precision: max |difference| <= 1e-5 and 1 - cosine <= 1e-9 for fp32, 1 -
    cosine <= 1e-5 for fp16; for int8 a cosine of .9995 in the mean and .998 at the
    worst, .94 of the ten nearest neighbours kept (from twenty images on) and at most
    half a point of their accuracy lost. Norms are 1 +- 1e-6 and everything is finite.
    Where the encoder does not normalise, the largest difference over the largest
    component stands for cosines and norms. An encoder of any image size gets its first
    batches in other shapes.

    Args:
        path: The exported file.
        encoder: The encoder; or a session with a file that is trusted, such as the same
            encoder's in float32.
        images: Real images, uint8 (N, H, W, C), repeated when there are fewer than 43.
            None: generated pictures.
        labels: Their classes (N,), where there are any.
        provider: What runs the file: "cpu", "cuda" or "tensorrt".

    Returns:
        The figures; `passed` is False, with reasons, when the gate did not hold or the
        file cannot be loaded or run.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: The provider did not load.
        TypeError: The images are not uint8.
        ValueError: The images are not of the encoder's shape, or there are none, or
            the labels are not one an image.
    """
    path = Path(path)
    try:
        model = read_model(path)
    except ValueError as error:
        broken = ModelFile(path.name, path.read_bytes(), {})
        return _failed(broken, encoder, f"the file does not run: {error}")
    return compare(model, encoder, images, labels, provider=provider)


def compare(
    model: ModelFile,
    encoder: Encoder | EmbeddingSession,
    images: UInt8Array | None,
    labels: Labels | None = None,
    *,
    provider: Provider = "cpu",
) -> Report:
    """Verify a model that need not be on disk; see `verify`."""
    started = time.perf_counter()
    if images is None:
        images = pictures(encoder)
    require_images(images, encoder.image_size, encoder.channels)
    if len(images) == 0:
        raise ValueError("Expected at least one image to verify with but got none")
    labels = None if labels is None else np.asarray(labels)
    if labels is not None and labels.shape != (len(images),):
        raise ValueError(
            f"Expected `labels` to be of shape ({len(images)},), one an image, but got "
            f"{labels.shape}"
        )
    require_provider(provider)
    distinct = len(images)
    images = images[np.arange(max(distinct, sum(BATCHES))) % distinct]
    try:
        require_precision(model.metadata[PRECISION])
        if model.weights is None:  # the checker would look for them on disk
            onnx.checker.check_model(model.content, full_check=True)
        threads = CPUSettings(threads=torch.get_num_threads())
        settings = threads if provider == "cpu" else None
        session = EmbeddingSession(model, provider, settings)
        other = _other_encoder(session, encoder)
        if other is not None:
            return _failed(model, encoder, other)
        batches = batched(images, encoder, session)
        reference, exported, speed = run_both(batches, encoder, session)
    except (ValueError, onnx.checker.ValidationError, *RUNTIME_ERRORS) as error:
        if provider != "cpu" and isinstance(error, ProviderError):
            raise  # of the machine, not of the file
        return _failed(model, encoder, f"the file does not run: {error}")
    found = distances(reference, exported)
    near = Neighborhoods()
    if found.finite:
        near = neighborhoods(reference[:distinct], exported[:distinct], labels)
    cosines = found.one_minus_cosine[:distinct]
    worst = np.argsort(-cosines, kind="stable")[:WORST]
    report = dataclasses.replace(
        _failed(model, encoder),
        provider=session.provider,
        max_abs=found.max_abs,
        max_one_minus_cosine=float(found.one_minus_cosine.max()),
        mean_one_minus_cosine=float(cosines.mean()),
        max_norm_error=found.max_norm_error if encoder.normalize else NAN,
        neighbors_kept=near.kept,
        knn=near.knn,
        scale=1.0 if encoder.normalize else max(1.0, float(abs(reference).max())),
        finite=found.finite,
        batches=tuple(sorted({len(batch) for batch in batches})),
        images=distinct,
        worst=tuple(worst.tolist()),
        worst_one_minus_cosine=tuple(cosines[worst].tolist()),
        speed=speed,
        seconds=time.perf_counter() - started,
    )
    failures = tuple(
        f"expected {figure.name} {figure.bound}".rstrip() + f" but got {figure.value}"
        for figure in report.figures
        if not figure.held
    )
    return dataclasses.replace(report, failures=failures)


def _other_encoder(
    session: EmbeddingSession, encoder: Encoder | EmbeddingSession
) -> str | None:
    """What shows that a file is of another encoder than the one compared with."""
    expected, got = (
        f"(B, {each.image_size}, {each.image_size}, {each.channels})"
        for each in (encoder, session)
    )
    if got != expected:
        return (
            f"Expected a file for images {expected}, as of its encoder, but got {got}"
        )
    if session.dim != encoder.dim:
        return (
            f"Expected {encoder.dim} components an embedding, as of its encoder, but "
            f"got {session.dim}"
        )
    return None


def _failed(
    model: ModelFile, encoder: Encoder | EmbeddingSession, *failures: str
) -> Report:
    """The report of a file that was not run."""
    precision = model.metadata.get(PRECISION, "fp32")
    sha256 = model.metadata.get(SHA256, "")
    if isinstance(encoder, Encoder):
        compared_with = f"its encoder in PyTorch {torch.__version__}"
        parameter_bytes = sum(4 * p.numel() for p in encoder.backbone.parameters())
    else:
        itself = encoder.metadata[SHA256] == sha256
        name = "itself, not its encoder," if itself else encoder.name
        compared_with, parameter_bytes = f"{name} on {encoder.provider}", 0
    return Report(
        failures=failures,
        compared_with=compared_with,
        precision=precision if precision in PRECISIONS else "fp32",
        provider="nothing",
        max_abs=NAN,
        max_one_minus_cosine=NAN,
        mean_one_minus_cosine=NAN,
        max_norm_error=NAN,
        neighbors_kept=NAN,
        knn=(NAN, NAN),
        scale=1.0,
        finite=False,
        batches=(),
        images=0,
        worst=(),
        worst_one_minus_cosine=(),
        speed=NAN,
        sha256=sha256,
        file_bytes=model.file_bytes,
        parameter_bytes=parameter_bytes,
        seconds=0.0,
    )
