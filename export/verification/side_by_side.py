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


def run_both(
    batches: list[UInt8Array], encoder: ImageEmbedder, session: EmbeddingSession
) -> tuple[Embeddings, Embeddings, float]:
    """Embed batches with both sides in turn.

    Args:
        batches: At least two batches, uint8 (B, H, W, C).
        encoder: The reference.
        session: The exported file.

    Returns:
        Embeddings of the reference (N, D), embeddings of the file (N, D), and the time
        of the reference over the time of the file, for all batches but the first. It is
        NaN for less than 64 images, whose time is the calls' and not the network's.
    """
    sides: list[list[npt.NDArray[np.float32]]] = [[], []]
    seconds = np.zeros((len(batches), 2))
    for number, batch in enumerate(batches):
        for which, embed in enumerate((encoder.embed, session.embed)):
            started = time.perf_counter()
            sides[which].append(embed(batch))
            seconds[number, which] = time.perf_counter() - started
    reference, exported = (np.concatenate(side).astype(np.float64) for side in sides)
    timed = len(reference) - len(batches[0])
    slow, fast = seconds[1:].sum(axis=0)
    return reference, exported, float(slow / fast) if timed >= TIMED else NAN


def _tiled(images: UInt8Array, factors: tuple[float, float]) -> UInt8Array:
    """Cut or repeat images to other heights and widths."""
    rows, columns = (
        np.arange(round(side * factor)) % side
        for side, factor in zip(images.shape[1:3], factors, strict=True)
    )
    return images[:, rows][:, :, columns]
