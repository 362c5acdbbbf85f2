"""An encoder and its exported file on the same images, in turn."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from rkdo_plugin.export.encoder.encoder import Encoder, evaluating
from rkdo_plugin.export.encoder.images import UInt8Array, sample_images
from rkdo_plugin.export.file.metadata import PREFIX
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.verification.distances import Embeddings

BATCHES = (1, 2, 7, 33)
REST = 64  # images at a time, of those beyond the first 43
# Height and width of the first batches over the image size, where any will do.
SHAPES = ((1.0, 1.5), (1.3, 1.0))
RESIZE = PREFIX + "resize"


def pictures(encoder: Encoder | EmbeddingSession) -> UInt8Array:
    """What is compared where no images are given."""
    return sample_images(sum(BATCHES), encoder.image_size, encoder.channels)


def batched(
    images: UInt8Array, encoder: Encoder | EmbeddingSession, session: EmbeddingSession
) -> list[UInt8Array]:
    """Batches of 1, 2, 7 and 33 images, then of 64.

    The first have other heights and widths, where both sides make the same of any.

    Args:
        images: uint8 (N, H, W, C), at least 43.
        encoder: One side.
        session: The other.
    """
    first = sum(BATCHES)
    places = [*np.cumsum(BATCHES), *range(first + REST, len(images), REST)]
    batches = np.split(images, [place for place in places if place < len(images)])
    same = isinstance(encoder, Encoder) or (
        encoder.metadata.get(RESIZE) == session.metadata.get(RESIZE)
    )
    if encoder.any_size and session.any_size and same:
        batches[: len(SHAPES)] = map(_tiled, batches, SHAPES)
    return batches


def run_both(
    batches: list[UInt8Array],
    encoder: Encoder | EmbeddingSession,
    session: EmbeddingSession,
) -> tuple[Embeddings, Embeddings, float]:
    """Embed batches with both sides in turn.

    Args:
        batches: Of at least two sizes, uint8 (B, H, W, C).
        encoder: One side.
        session: The other.

    Returns:
        Embeddings of both sides (N, D), and the first's time over the second's: the
        median of all batches but the first.
    """
    embed = encoder.embed if isinstance(encoder, EmbeddingSession) else _by(encoder)
    sides: list[list[npt.NDArray[np.float32]]] = [[], []]
    ratios = []
    for batch in batches:
        seconds = []
        for side, run in zip(sides, (embed, session.embed), strict=True):
            started = time.perf_counter()
            side.append(run(batch))
            seconds.append(time.perf_counter() - started)
        ratios.append(seconds[0] / seconds[1])
    reference, exported = (np.concatenate(side).astype(np.float64) for side in sides)
    return reference, exported, statistics.median(ratios[1:])


def _tiled(images: UInt8Array, shape: tuple[float, float]) -> UInt8Array:
    """Images of other sides, filled as by tiles."""
    side = images.shape[1]
    rows, columns = (np.arange(round(side * share)) % side for share in shape)
    return images[:, rows][:, :, columns]


def _by(encoder: Encoder) -> Callable[[UInt8Array], npt.NDArray[np.float32]]:
    def embed(batch: UInt8Array) -> npt.NDArray[np.float32]:
        # Someone may have put a part of the encoder back into training mode.
        with torch.inference_mode(), evaluating(encoder):
            images = torch.from_numpy(batch).to(encoder.mean.device)
            embeddings: npt.NDArray[np.float32] = encoder(images).cpu().numpy()
        return embeddings

    return embed
