"""The images of a comparison: held in memory, with others kept back to score by."""

from dataclasses import replace
from hashlib import blake2b

import numpy as np

from rkdo_plugin.export.encoder.image_size import sides
from rkdo_plugin.recipes.data.held import HeldImages, held, hold
from rkdo_plugin.recipes.data.images import ImageData

KEPT_BACK = 5  # every fifth image


def comparison_images(data: ImageData) -> ImageData:
    """The images as arrays; a fifth is for testing where the data has no test images.

    Raises:
        ValueError: There are too few images.
    """
    return hold(data) if len(data.test) else kept_back(data)


def kept_back(data: ImageData) -> ImageData:
    """The training images alone: every fifth of each class becomes a test image.

    Raises:
        ValueError: There are too few images.
    """
    images = held(data.train, data)
    by_class = np.argsort(images.targets, kind="stable")
    test = by_class[KEPT_BACK - 1 :: KEPT_BACK]
    if len(test) == 0:
        raise ValueError(
            f"Expected at least {KEPT_BACK} training images, to keep some back to "
            f"score by, but {data.name} has {len(images)}"
        )
    train = np.setdiff1d(by_class, test)
    return replace(data, train=images.part(train), test=images.part(np.sort(test)))


def fingerprint(data: ImageData) -> str:
    """A hash of images and labels, 16 hexadecimal digits."""
    digest = blake2b(repr(sides(data.image_size)).encode(), digest_size=8)
    for part in (data.train, data.test):
        assert isinstance(part, HeldImages)
        for array in (part.pixels, part.targets):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
