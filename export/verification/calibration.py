"""Check the images that show the ranges of an encoder's activations."""

import numpy as np

from rkdo_plugin.export.encoder.images import require_images
from rkdo_plugin.export.encoder.pictures import UInt8Array
from rkdo_plugin.export.encoder.protocol import ImageEmbedder
from rkdo_plugin.export.file.metadata import CALIBRATED, Precision

MIN_IMAGES = 16


def require_calibration(
    encoder: ImageEmbedder, precision: Precision, calibration: UInt8Array | None
) -> None:
    """Check that calibration images are there where activations need ranges.

    Args:
        encoder: The encoder to quantise.
        precision: The precision of the file.
        calibration: Calibration images, uint8 (N, H, W, C). None: there are none.

    Raises:
        TypeError: The images are not uint8.
        ValueError: The images are missing, are passed for another precision, do not fit
            the encoder, or are not real images.
    """
    if precision in CALIBRATED:
        if calibration is None:
            raise ValueError(
                f"Expected `calibration` for precision '{precision}' but got none; "
                "pass about 256 real images, uint8 (N, H, W, C)"
            )
        require_images(calibration, encoder.image_size, encoder.channels)
        require_real_images(calibration)
    elif calibration is not None:
        raise ValueError(
            f"Expected no `calibration` for precision '{precision}' but got "
            f"{len(calibration)} images"
        )


def require_real_images(images: UInt8Array) -> None:
    """Refuse calibration images that cannot show the ranges of activations.

    Args:
        images: Calibration images, uint8 (N, H, W, C).

    Raises:
        ValueError: There are fewer than 16 images, or most of them are constant, copies
            of each other, or noise. In noise neighbouring pixels differ as much as any
            two pixels.
    """
    if len(images) < MIN_IMAGES:
        raise ValueError(
            f"Expected at least {MIN_IMAGES} calibration images but got {len(images)}"
        )
    pixels = images.astype(np.float32)
    variance = pixels.var(axis=(1, 2)).mean(axis=1)
    constant = float((variance < 1).mean())
    if constant > 0.5:
        raise ValueError(
            f"Expected real calibration images but {constant:.0%} have one colour only"
        )
    distinct = len({image.tobytes() for image in images}) / len(images)
    if distinct < 0.5:
        raise ValueError(
            f"Expected different calibration images but only {distinct:.0%} differ"
        )
    # For independent pixels the mean square of a step is twice the variance.
    steps = np.diff(pixels, axis=2)
    roughness = float(np.median((steps**2).mean(axis=(1, 2, 3)) / (2 * variance + 1)))
    if roughness > 0.8:
        raise ValueError(
            "Expected real calibration images but got noise: neighbouring pixels "
            f"differ by {roughness:.2f} times the difference of any two pixels"
        )
