"""Only real images may calibrate, and only where they are needed."""

import numpy as np
import pytest
from photographs import crops
from sklearn.datasets import load_digits

from rkdo_plugin.export import export_onnx
from rkdo_plugin.export.encoder.images import sample_images
from rkdo_plugin.export.verification.calibration import require_real_images


def test_calibration_goes_with_int8_alone(make_small, tmp_path):
    with pytest.raises(ValueError, match="`calibration` for precision 'int8'"):
        export_onnx(make_small(), tmp_path / "a.onnx", precision="int8")
    with pytest.raises(ValueError, match="no `calibration` for precision 'fp16'"):
        export_onnx(
            make_small(),
            tmp_path / "a.onnx",
            precision="fp16",
            calibration=crops(16, 16),
        )
    with pytest.raises(ValueError, match=r"\(B, 16, 16, 3\)"):
        export_onnx(
            make_small(),
            tmp_path / "a.onnx",
            precision="int8",
            calibration=crops(32, 20),
        )


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 16, 16, 3), np.uint8), "at least 16 calibration images"),
        (crops(15, 16), "but got 15"),
        (np.full((64, 16, 16, 3), 127, np.uint8), "100% have one colour only"),
        (np.tile(crops(2, 16), (32, 1, 1, 1)), "only 3% differ"),
        (
            np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), dtype=np.uint8),
            "got noise",
        ),
    ],
)
def test_calibration_images_that_show_nothing_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        require_real_images(images)


def shades(apart):
    """16 images of two shades each, with a variance of (apart / 2)^2."""
    rows = 100 + np.repeat([0, apart], 8) + np.arange(16)[:, None]
    return np.broadcast_to(rows[:, None, :, None], (16, 16, 16, 3)).astype(np.uint8)


def test_a_colour_is_what_varies_by_less_than_one_shade():
    require_real_images(shades(2))
    with pytest.raises(ValueError, match="100% have one colour only"):
        require_real_images(shades(1))


def test_real_and_drawn_images_calibrate():
    require_real_images(crops(16, 16))
    require_real_images(sample_images(16, 32, 1))
    digits = load_digits().images[:64, :, :, None] * 15
    require_real_images(digits.astype(np.uint8))
