"""The protocol of everything that embeds images."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from rkdo_plugin.export.encoder.image_size import ImageSize
from rkdo_plugin.export.encoder.pictures import UInt8Array


class ImageEmbedder(Protocol):
    """Turns uint8 images into embeddings; `Encoder` and `EmbeddingSession` both do."""

    @property
    def image_size(self) -> ImageSize:
        """Height and width in pixels that pictures are resized to."""

    @property
    def any_size(self) -> bool:
        """Whether images may have any other height and width, too."""

    @property
    def fixed_size(self) -> ImageSize | None:
        """Height and width that images must have. None if they may have any."""

    @property
    def channels(self) -> int:
        """Channels of the images."""

    @property
    def dim(self) -> int:
        """D, the number of components of an embedding."""

    @property
    def normalize(self) -> bool:
        """Whether embeddings have norm 1."""

    def embed(self, images: UInt8Array) -> npt.NDArray[np.float32]:
        """Embed images.

        Args:
            images: uint8 (B, H, W, C), values 0 to 255. B may be 0.

        Returns:
            Embeddings, float32 (B, D).

        Raises:
            TypeError: The images are not uint8.
            ValueError: The images do not have the expected shape.
        """
