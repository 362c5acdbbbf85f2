"""Compare files with one reference, and judge each by its gate."""

import dataclasses
import math
import time
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
from rkdo_plugin.export.file.model_file import ModelFile
from rkdo_plugin.export.runtime.providers import RUNTIME_ERRORS, ProviderError
from rkdo_plugin.export.runtime.saturation import sums_saturate
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.runtime.settings import (
    CPUSettings,
    Provider,
    require_provider,
)
from rkdo_plugin.export.verification.distances import (
    NAN,
    Embeddings,
    Labels,
    NeighborAgreement,
    distances,
    neighbor_agreement,
)
from rkdo_plugin.export.verification.report import Report
from rkdo_plugin.export.verification.side_by_side import (
    BATCHES,
    TIMED,
    batched,
    pace,
    pictures,
    run,
)

WORST = 5  # worst images that a report lists


class Known(TypedDict):
    """The part of a report that is known without running the file."""

    compared_with: str
    precision: Precision
    sha256: str
    file_bytes: int
    parameter_bytes: int


class Judge:
    """Compares files with one reference, which embeds the images once.

    Args:
        encoder: The reference.
        images: Real images, uint8 (N, H, W, C). Fewer than 43 are repeated. None:
            pictures are generated.
        labels: Classes of the images (N,). None: there are none.

    Raises:
        TypeError: The images are not uint8.
        ValueError: The images do not have the encoder's shape, there are none, or there
            is not one label for each image.
    """

    def __init__(
        self,
        encoder: ImageEmbedder,
        images: UInt8Array | None,
        labels: Labels | None = None,
    ) -> None:
        self._encoder = encoder
        self._images = pictures(encoder) if images is None else images
        self._labels = None if labels is None else np.asarray(labels)
        _require_comparable(self._images, self._labels, encoder)
        self._known: Embeddings | None = None

    def report(self, model: ModelFile, provider: Provider = "cpu") -> Report:
        """Compare a model in memory, which need not be on disk, with the reference.

        All models that one judge compares must accept images of the same sizes.
        `verify` describes the report. Only the first has a speed: `timed` measures that
        of others.
        """
        started = time.perf_counter()
        require_provider(provider)
        encoder, count = self._encoder, len(self._images)
        places = np.arange(max(count, sum(BATCHES))) % count
        known = known_of(model, encoder)
        try:
            session = _open(model, provider)
            other = _difference(session, encoder)
            if other is not None:
                return Report(**known, failures=(other,))
            batches = batched(self._images[places], encoder, session)
            if self._known is None:
                (self._known, exported), seconds = run(batches, encoder, session)
            else:
                (exported,), seconds = run(batches, session)
        except (ValueError, onnx.checker.ValidationError, *RUNTIME_ERRORS) as error:
            if provider != "cpu" and isinstance(error, ProviderError):
                raise  # the machine's fault, not the file's
            failure = f"Expected {model.name} to run but got: {error}"
            return Report(**known, failures=(failure,))

        reference = self._known
        apart = distances(reference, exported)
        near = NeighborAgreement()
        if apart.finite:
            near = neighbor_agreement(reference[:count], exported[:count], self._labels)
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
            speed=pace(batches, seconds) if seconds.shape[1] == 2 else NAN,
            seconds=time.perf_counter() - started,
        )
        return measured.judged()

    def timed(self, model: ModelFile, report: Report) -> Report:
        """Add the speed of a model to its report, if there are 64 images to time."""
        known = not math.isnan(report.speed)
        if known or len(self._images) < TIMED or not report.images:
            return report
        batches = [self._images[:1], self._images[:TIMED]]
        _, seconds = run(batches, self._encoder, _open(model, "cpu"))
        return dataclasses.replace(report, speed=pace(batches, seconds))


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


def known_of(model: ModelFile, encoder: ImageEmbedder) -> Known:
    """Return the part of a report that is known without running the file."""
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
        # What TensorRT will compute: signed activations may saturate on this CPU.
        exact = model.metadata[PRECISION] == "int8-tensorrt" and sums_saturate()
        settings = CPUSettings(torch.get_num_threads(), optimize=not exact)
        return EmbeddingSession(model, settings)
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
