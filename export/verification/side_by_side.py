"""Run an encoder and its exported file on the same images, in turn."""

import time

import numpy as np
import numpy.typing as npt

from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.encoder.protocol import ImageEmbedder
from rkdo_plugin.export.file.metadata import RESIZING
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.verification.distances import NAN, Embeddings

BATCHES = (1, 2, 7, 33)
REST = 64  # batch size of the images beyond the first 43
TIMED = 64  # images that a time is worth printing for
# Factors on height and width of the first batches, if both sides accept any size.
SHAPES = ((1.0, 1.5), (1.3, 1.0))


def pictures(encoder: ImageEmbedder) -> UInt8Array:
    """Generate the images to compare, for a user who passes none."""
    return sample_images(sum(BATCHES), encoder.image_size, encoder.channels)


def batched(
    images: UInt8Array, encoder: ImageEmbedder, session: EmbeddingSession
) -> list[UInt8Array]:
    """Split images into batches of 1, 2, 7 and 33, then of 64.

    The first batches get other heights and widths, if both sides accept any size and
    treat other sizes alike.

    Args:
        images: uint8 (N, H, W, C), at least 43.
        encoder: The reference.
        session: The exported file.

    Returns:
        The batches, uint8 (B, H', W', C).
    """
    first = sum(BATCHES)
    places = [*np.cumsum(BATCHES), *range(first + REST, len(images), REST)]
    batches = np.split(images, [place for place in places if place < len(images)])
    # One file may resize images in its graph while another embeds them as they are.
    alike = not isinstance(encoder, EmbeddingSession) or (
        encoder.metadata.get(RESIZING) == session.metadata.get(RESIZING)
    )
    if encoder.any_size and session.any_size and alike:
        batches[: len(SHAPES)] = map(_tiled, batches, SHAPES)
    return batches


def run(
    batches: list[UInt8Array], *embedders: ImageEmbedder
) -> tuple[list[Embeddings], npt.NDArray[np.float64]]:
    """Embed batches with each side in turn.

    Args:
        batches: At least two batches, uint8 (B, H, W, C).
        embedders: The sides.

    Returns:
        Embeddings (N, D) of each side, and the seconds (batches, sides) that it took.
    """
    found: list[list[npt.NDArray[np.float32]]] = [[] for _ in embedders]
    seconds = np.zeros((len(batches), len(embedders)))
    for number, batch in enumerate(batches):
        for which, embedder in enumerate(embedders):
            started = time.perf_counter()
            found[which].append(embedder.embed(batch))
            seconds[number, which] = time.perf_counter() - started
    return [np.concatenate(side).astype(np.float64) for side in found], seconds


def pace(batches: list[UInt8Array], seconds: npt.NDArray[np.float64]) -> float:
    """Time of the first side over that of the second, for all batches but the first.

    It is NaN for less than 64 images, whose time is the calls' and not the network's.
    """
    slow, fast = seconds[1:].sum(axis=0)
    timed = sum(len(batch) for batch in batches[1:])
    return float(slow / fast) if timed >= TIMED else NAN


def _tiled(images: UInt8Array, factors: tuple[float, float]) -> UInt8Array:
    """Cut or repeat images to other heights and widths."""
    rows, columns = (
        np.arange(round(side * factor)) % side
        for side, factor in zip(images.shape[1:3], factors, strict=True)
    )
    return images[:, rows][:, :, columns]
