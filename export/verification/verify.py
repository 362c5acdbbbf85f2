"""The parity gate: does an exported file compute what its encoder computes?"""

import time
from pathlib import Path
from typing import TypedDict

import numpy as np
import onnx
import torch

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.export.encoder.images import require_images
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.encoder.protocol import ImageEmbedder
from rkdo_plugin.export.file.metadata import (
    PRECISION,
    PRECISIONS,
    SHA256,
    Precision,
    require_precision,
)
from rkdo_plugin.export.file.model_file import ModelFile, read_model
from rkdo_plugin.export.runtime.providers import RUNTIME_ERRORS, ProviderError
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import (
    CPUSettings,
    Provider,
    require_provider,
)
from rkdo_plugin.export.verification.distances import (
    NAN,
    Labels,
    NeighborAgreement,
    distances,
    neighbor_agreement,
)
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.export.verification.side_by_side import (
    BATCHES,
    batched,
    pictures,
    run_both,
)

WORST = 5  # worst images that a report lists


class Known(TypedDict):
    """The part of a report that is known without running the file."""

    compared_with: str
    precision: Precision
    sha256: str
    file_bytes: int
    parameter_bytes: int


def verify(
    path: str | Path,
    encoder: ImageEmbedder,
    images: UInt8Array | None = None,
    labels: Labels | None = None,
    *,
    provider: Provider = "cpu",
) -> Report:
    """Compare an exported file with the encoder that it was made from.

    Both run on batches of 1, 2, 7 and 33 images, then of 64. If both accept images of
    any size, the first batches have other shapes. The gate depends on the file's
    precision:

    * fp32: max |difference| <= 1e-5 and 1 - cosine <= 1e-9.
    * fp16: 1 - cosine <= 1e-5.
    * int8 and int8-dynamic: cosine at least .9995 in the mean and .998 for the worst
      image, at least .94 of the ten nearest neighbours kept, and at most half a point
      of their accuracy lost. Neighbours count from twenty images on.

    Norms must be 1 within 1e-6, and every component must be finite. If the encoder does
    not normalise, the largest difference over the largest component replaces cosines
    and norms.

    Args:
        path: The exported file.
        encoder: The reference: the encoder, or a session with a file that you trust,
            such as the same encoder's in float32.
        images: Real images, uint8 (N, H, W, C). Fewer than 43 are repeated. None:
            pictures are generated.
        labels: Classes of the images (N,). None: there are none.
        provider: The provider that runs the file: "cpu", "cuda" or "tensorrt".

    Returns:
        The figures. `passed` is False, with the reasons in `failures`, if a bound does
        not hold or the file cannot be loaded or run.

    Raises:
        FileNotFoundError: There is no such file.
        RuntimeError: The provider did not load.
        TypeError: The images are not uint8.
        ValueError: The images do not have the encoder's shape, there are none, or there
            is not one label for each image.
    """
    path = Path(path)
    try:
        model = read_model(path)
    except ValueError as error:
        unreadable = ModelFile(path.name, path.read_bytes(), metadata={})
        return Report(**_known(unreadable, encoder), failures=(str(error),))
    return verify_model(model, encoder, images, labels, provider=provider)


def verify_model(
    model: ModelFile,
    encoder: ImageEmbedder,
    images: UInt8Array | None,
    labels: Labels | None = None,
    *,
    provider: Provider = "cpu",
) -> Report:
    """Compare a model in memory, which need not be on disk, with its encoder.

    `verify` describes the other arguments, the result and the errors.
    """
    started = time.perf_counter()
    if images is None:
        images = pictures(encoder)
    labels = None if labels is None else np.asarray(labels)
    _require_comparable(images, labels, encoder)
    require_provider(provider)
    count = len(images)
    repeated = images[np.arange(max(count, sum(BATCHES))) % count]
    known = _known(model, encoder)
    try:
        session = _open(model, provider)
        other = _difference(session, encoder)
        if other is not None:
            return Report(**known, failures=(other,))
        batches = batched(repeated, encoder, session)
        reference, exported, speed = run_both(batches, encoder, session)
    except (ValueError, onnx.checker.ValidationError, *RUNTIME_ERRORS) as error:
        if provider != "cpu" and isinstance(error, ProviderError):
            raise  # the machine's fault, not the file's
        failure = f"Expected {model.name} to run but got: {error}"
        return Report(**known, failures=(failure,))

    apart = distances(reference, exported)
    near = NeighborAgreement()
    if apart.finite:
        near = neighbor_agreement(reference[:count], exported[:count], labels)
    cosines = apart.one_minus_cosine[:count]
    worst = np.argsort(-cosines, kind="stable")[:WORST]
    measured = Report(
        **known,
        failures=(),
        provider=session.provider,
        max_abs=apart.max_abs,
        max_one_minus_cosine=float(apart.one_minus_cosine.max()),
        mean_one_minus_cosine=float(cosines.mean()),
        max_norm_error=apart.max_norm_error if encoder.normalize else NAN,
        neighbors_kept=near.kept,
        knn=near.knn,
        scale=1.0 if encoder.normalize else max(1.0, float(abs(reference).max())),
        finite=apart.finite,
        batches=tuple(sorted({len(batch) for batch in batches})),
        images=count,
        worst=tuple(worst.tolist()),
        worst_one_minus_cosine=tuple(cosines[worst].tolist()),
        speed=speed,
        seconds=time.perf_counter() - started,
    )
    return measured.judged()


def _require_comparable(
    images: UInt8Array, labels: Labels | None, encoder: ImageEmbedder
) -> None:
    """Check that there are images of the encoder's shape, and a label for each."""
    require_images(images, encoder.image_size, encoder.channels)
    if len(images) == 0:
        raise ValueError("Expected `images` to hold at least one image but got none")
    if labels is not None and labels.shape != (len(images),):
        raise ValueError(
            f"Expected `labels` to be of shape ({len(images)},), one for each image, "
            f"but got {labels.shape}"
        )


def _known(model: ModelFile, encoder: ImageEmbedder) -> Known:
    precision = model.metadata.get(PRECISION)
    sha256 = model.metadata.get(SHA256, "")
    compared_with, parameter_bytes = type(encoder).__name__, 0
    if isinstance(encoder, Encoder):
        compared_with = f"its encoder in PyTorch {torch.__version__}"
        parameter_bytes = sum(4 * p.numel() for p in encoder.backbone.parameters())
    elif isinstance(encoder, EmbeddingSession):
        itself = encoder.metadata[SHA256] == sha256
        name = "itself, not its encoder," if itself else encoder.name
        compared_with = f"{name} on {encoder.provider}"
    return Known(
        compared_with=compared_with,
        precision=next((p for p in PRECISIONS if p == precision), "fp32"),
        sha256=sha256,
        file_bytes=model.file_bytes,
        parameter_bytes=parameter_bytes,
    )


def _open(model: ModelFile, provider: Provider) -> EmbeddingSession:
    """Check the graph and load it."""
    require_precision(model.metadata[PRECISION])
    if model.weights is None:  # otherwise the checker looks for weights on the disk
        onnx.checker.check_model(model.content, full_check=True)
    if provider == "cpu":
        return EmbeddingSession(model, CPUSettings(threads=torch.get_num_threads()))
    return EmbeddingSession(model, provider)


def _difference(session: EmbeddingSession, encoder: ImageEmbedder) -> str | None:
    """Say how images or embeddings differ in shape. Return None if they do not."""
    expected, got = (
        "(B, {}, {}, {})".format(*sides(each.image_size), each.channels)
        for each in (encoder, session)
    )
    if got != expected:
        return f"Expected a file for images {expected}, like its encoder, but got {got}"
    if session.dim != encoder.dim:
        return (
            f"Expected a file with {encoder.dim} components in an embedding, like its "
            f"encoder, but got {session.dim}"
        )
    return None
