"""Features of what a command is given: a run folder, a checkpoint or an ONNX file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rkdo_plugin.export import EmbeddingSession, Encoder, freeze
from rkdo_plugin.export.encoder.checkpoint import read_checkpoint
from rkdo_plugin.export.encoder.images import resize
from rkdo_plugin.export.verification.side_by_side import BATCHES
from rkdo_plugin.recipes.data.images import LabelledImages, load_data
from rkdo_plugin.recipes.training.run_folder import CHECKPOINT

BATCH_SIZE = 512  # images in the encoder at a time
INTEGER_IMAGES = 500  # compared where a file computes in integers
CALIBRATION_IMAGES = 256  # more change the ranges of activations little

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Model:
    """A trained encoder, however it is stored.

    Attributes:
        embed: From images (N, H, W, C) uint8 to embeddings (N, D) of norm 1.
        image_size: Height and width of the images in pixels.
        data: Name of the data that it was trained on; None for an ONNX file.
    """

    embed: Embed
    image_size: int
    data: str | None


def load_model(path: Path) -> Model:
    """Load an ONNX file, or freeze the encoder of a run folder or a checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or was not written by this package.
    """
    if path.suffix == ".onnx":
        session = EmbeddingSession(path)
        return Model(session.embed, session.image_size, None)
    checkpoint = checkpoint_of(path)
    encoder = freeze(checkpoint)
    return Model(torch_embed(encoder), encoder.image_size, recorded_data(checkpoint))


def checkpoint_of(path: Path) -> Path:
    """The checkpoint of a run folder; any other path as it is."""
    return path / CHECKPOINT if path.is_dir() else path


def torch_embed(encoder: Encoder) -> Embed:
    """Embed through PyTorch, in batches."""

    @torch.no_grad()
    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches = torch.split(torch.from_numpy(images), BATCH_SIZE)
        embeddings: NDArray[np.float32] = torch.cat(
            [encoder(batch.to(encoder.mean.device)).cpu() for batch in batches]
        ).numpy()
        return embeddings

    return embed


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Raw pixels (N, H * W * C): what any encoder should improve on."""
    return images.reshape(len(images), -1).astype(np.float32)


def recorded_data(checkpoint: Path) -> str | None:
    """Name of the data that a checkpoint's encoder was trained on, if recorded."""
    name: str | None = read_checkpoint(checkpoint)[1].get("data")
    return name


def parity_images(
    name: str, root: str | None, encoder: Encoder, *, integers: bool = False
) -> NDArray[np.uint8]:
    """Some test images of named data (training images where there are none).

    More for integers: what they do to neighbours and to the worst image shows on many.
    """
    count = INTEGER_IMAGES if integers else sum(BATCHES)
    return labelled_images(name, root, encoder, count)[0]


def labelled_images(
    name: str, root: str | None, encoder: Encoder | EmbeddingSession, limit: int
) -> tuple[NDArray[np.uint8], NDArray[np.integer] | None]:
    """Likewise as many as `limit`, with their classes where there are any."""
    if limit < 1:
        raise ValueError(f"Expected `limit` to be at least 1 but got {limit}")
    data = load_data(name, root=root)
    part = data.test if len(data.test) else data.train
    images, labels = _spread(part, limit, encoder)
    return images, labels if data.num_classes > 1 else None


def calibration_images(
    name: str, root: str | None, encoder: Encoder
) -> NDArray[np.uint8]:
    """Training images of named data."""
    return _spread(load_data(name, root=root).train, CALIBRATION_IMAGES, encoder)[0]


def _spread(
    part: LabelledImages, limit: int, encoder: Encoder | EmbeddingSession
) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """At most so many images, evenly over all: folders lie in the order of classes.

    Brought to the encoder's size and channels as `embed_folder` does.
    """
    places = np.linspace(0, len(part) - 1, min(limit, len(part))).astype(int).tolist()
    images, labels = zip(*(part[place] for place in places), strict=True)
    size, channels = encoder.image_size, encoder.channels
    return (
        np.stack([resize(image, size, channels) for image in images]),
        np.asarray(labels, dtype=np.int64),
    )
