"""Images that show what ranges an encoder's activations have."""

import numpy as np

from rkdo_plugin.export.encoder.encoder import Encoder
from rkdo_plugin.export.encoder.images import UInt8Array, require_images
from rkdo_plugin.export.runtime.session import EmbeddingSession
from rkdo_plugin.export.verification.gates import Precision

MIN_IMAGES = 16


def require_calibration(
    encoder: Encoder | EmbeddingSession,
    precision: Precision,
    calibration: UInt8Array | None,
) -> None:
    """Refuse calibration images that are missing, useless, or more than is asked for.

    Raises:
        ValueError: They are.
    """
    if precision == "int8":
        if calibration is None:
            raise ValueError(
                "Expected `calibration` for precision 'int8': some 256 real images, "
                "uint8 (N, H, W, C), but got none"
            )
        require_images(calibration, encoder.image_size, encoder.channels)
        require_real_images(calibration)
    elif calibration is not None:
        raise ValueError(
            f"Expected no `calibration` for precision '{precision}', which reads none"
        )


def require_real_images(images: UInt8Array) -> None:
    """Refuse calibration images that cannot show what activations are like.

    Args:
        images: uint8 (N, H, W, C).

    Raises:
        ValueError: There are fewer than 16, or most are constant, copies of each other,
            or noise: neighbouring pixels differ like pixels of any two places.
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
            f"Expected real calibration images but {constant:.0%} are of one colour"
        )
    distinct = len({image.tobytes() for image in images}) / len(images)
    if distinct < 0.5:
        raise ValueError(
            f"Expected different calibration images but only {distinct:.0%} are"
        )
    # Of independent pixels the mean square of a step is twice their variance.
    steps = np.diff(pixels, axis=2)
    roughness = float(np.median((steps**2).mean(axis=(1, 2, 3)) / (2 * variance + 1)))
    if roughness > 0.8:
        raise ValueError(
            "Expected real calibration images but got noise: neighbouring pixels "
            f"differ by {roughness:.2f} of what pixels of any two places do"
        )
